"""HTML pages that open from disk: elements, and the style that all pages share."""
