"""Names and sources of the body-model files that are recognised (docs/reference/assets.md#file-names-and-sources)."""

from __future__ import annotations

import re

from trace_data.schema.body import GENDERS

EXTRA9, H36M17, KID, SMIL = "J_regressor_extra.npy", "J_regressor_h36m.npy", "smpl_kid_template.npy", "smil_web.pkl"

ORIGIN: dict[str, str] = {
    **dict.fromkeys(
        GENDERS,
        'SMPL_python_v.1.1.0.zip, "version 1.1.0 for Python 2.7 (female/male/neutral, 300 shape PCs)" on the SMPL site '
        "(https://smpl.is.tue.mpg.de)",
    ),
    EXTRA9: "smpl_model_data.zip of the ROMP release (also in the SPIN and VIBE data bundles)",
    H36M17: "smpl_model_data.zip of the ROMP release (also in the SPIN and VIBE data bundles)",
    KID: "smpl_model_data.zip of the ROMP release (also on the AGORA site)",
    SMIL: "smil.zip of Fraunhofer IOSB",
}
"""Download location of each role's file."""

_PATTERNS = (
    (re.compile(r"basicmodel_(m|f|neutral)_lbs_10_207_0_v(1\.[01]\.0)\.(?:pkl|npz)"), "official"),
    (re.compile(r"smpl_(male|female|neutral)\.(?:pkl|npz)"), "renamed"),
)
_SIDE_FILES = {name.lower(): name for name in (EXTRA9, H36M17, KID, SMIL)} | {"smil_web.npz": SMIL}
_OTHER_MODEL = re.compile(r"(smplx|smplh|mano|flame|smal)_.*\.(?:pkl|npz)")
_OTHER_MODELS = {"smplx": "SMPL-X", "smplh": "SMPL-H", "mano": "MANO (a hand)", "flame": "FLAME (a head)"}
_TOKENS = {"m": "male", "f": "female", "n": "neutral"}
_TOKEN = re.compile(r"(?<![a-z])(male|female|neutral|m|f|n)(?![a-z])")


def recognise(name: str) -> tuple[str, str | None] | None:
    """Role and version of a file by its name, or None."""
    low = name.lower()
    if low in _SIDE_FILES:
        return _SIDE_FILES[low], None
    for pattern, kind in _PATTERNS:
        if match := pattern.fullmatch(low):
            return _TOKENS.get(match[1], match[1]), match[2] if kind == "official" else None
    return None


def own_name(name: str) -> tuple[str, None] | None:
    """Role of a renamed body model, by the one gender in its name, or None."""
    stem, _, kind = name.lower().rpartition(".")
    genders = {_TOKENS[word[0]] for word in _TOKEN.findall(stem)}
    return (genders.pop(), None) if kind in ("pkl", "npz") and len(genders) == 1 else None


def other_model(name: str) -> str | None:
    """The other model family that a file belongs to by its name, or None."""
    match = _OTHER_MODEL.fullmatch(name.lower())
    return _OTHER_MODELS.get(match[1], match[1].upper()) if match else None


def title(role: str) -> str:
    """The role in words."""
    return f"the {role} body model" if role in GENDERS else role
