"""Pictures of sequences: image files and frames of videos."""
