"""The page: picture, world, time, people and facts, with its script and its numbers inside."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from trace_data.pages.document import document, write_document
from trace_data.pages.html import Html, element, joined, table, text
from trace_data.view.packing import packed
from trace_data.view.scene import ShownBody, ShownPerson, ShownScene, ShownVideo, Stills

SCRIPTS = ("math.js", "drawing.js", "page.js")
KEYS = (
    ("space", "play or pause"), ("← →", "one frame back or on"), ("Home End", "first or last frame"),
    ("C", "look through the camera"), ("F", "follow the next person"), ("1 – 9", "show or hide a person"),
    ("0", "view as at the beginning"), ("+ −", "nearer or farther"),
    ("← → ↑ ↓ in the world", "turn; with Shift, move"),
)  # fmt: skip


def write_page(path: Path, scene: ShownScene) -> int:
    """Write the page of a scene; its size in bytes. Raises OutputError."""
    return write_document(path, page_text(scene), hint="name another place with --page")


def page_text(scene: ShownScene) -> str:
    """The whole page."""
    described, numbers = packed(scene)
    body = joined(
        (
            _header(scene),
            element("section", _picture(scene), _world(scene), style="stages"),
            _transport(scene),
            element("h2", "Facts"),
            table((), scene.facts, style="facts"),
            _links(scene),
            _help(),
            _description(described),
            _block("data", base64.b64encode(numbers).decode()),
            _stills(scene.picture) if isinstance(scene.picture, Stills) else "",
            Html(f"<script>(() => {{\n{_script()}}})();</script>"),
        ),
        "\n",
    )
    return document(scene.title, body, style=_read("page.css"))


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _script() -> str:
    return "\n".join(map(_read, SCRIPTS))


def _description(described: Mapping[str, Any]) -> Html:
    # a name that holds `</script>` must not end it
    content = json.dumps(described, separators=(",", ":")).replace("<", "\\u003c")
    return Html(f'<script type="application/json" id="scene">{content}</script>')


def _block(name: str, content: str) -> Html:
    return Html(f'<script type="text/plain" id="{name}">{content}</script>')


def _stills(picture: Stills) -> Html:
    return _block("frames", "\n".join(base64.b64encode(jpeg).decode() for jpeg in picture.jpegs))


def _header(scene: ShownScene) -> Html:
    badge = joined((" ", element("span", scene.badge, style="badge synthetic"))) if scene.badge else ""
    notes = (
        Html(f'<ul class="warnings">{joined(element("li", note) for note in scene.notes)}</ul>') if scene.notes else ""
    )
    title = element("header", element("h1", scene.title, badge), element("p", scene.lead))
    without = Html(
        "<noscript><p>The pictures need a script, which this browser does not run; the facts do not.</p></noscript>"
    )
    return joined((title, notes, without))


def _picture(scene: ShownScene) -> Html | str:
    if scene.picture is None:
        return ""
    if isinstance(scene.picture, ShownVideo):
        source, name = (escape(words, quote=True) for words in (scene.picture.source, scene.picture.name))
        medium = Html(f'<video id="video" src="{source}" muted playsinline preload="auto" aria-label="{name}"></video>')
        unplayed = Html(
            '<p class="none" id="unplayed" hidden>This browser does not find or play the video. '
            "It has to lie where it was; <code>trace view --embed-frames</code> makes a page without one.</p>"
        )
    else:
        medium, unplayed = Html('<img id="still" alt="the frame of the moment">'), Html()
    wide, high = scene.size
    frame = Html(
        f'<div class="stage"><div class="frame" style="--wide: {wide}; --high: {high}">{medium}'
        f'<canvas id="over" role="img" aria-label="bodies over the picture"></canvas>{unplayed}</div></div>'
    )
    meshes = any(isinstance(person.shape, ShownBody) and person.shape.mesh for person in scene.people)
    modes = [("mesh", "surface")] * meshes + [("skeleton", "skeleton"), ("off", "nothing")]
    tools = joined(
        (
            Html('<label for="mode">Over the picture</label>'),
            Html(f'<select id="mode">{joined(_option(*mode) for mode in modes)}</select>'),
        )
    )
    return element("figure", frame, element("div", tools, style="tools"))


def _world(scene: ShownScene) -> Html:
    who = joined([_option("-1", "nobody"), *(_option(str(i), person.label) for i, person in enumerate(scene.people))])
    return Html(
        '<figure><div class="stage"><canvas id="world" tabindex="0" role="img" aria-describedby="keys" '
        'aria-label="the world in 3D: people, their ways on the floor, and the camera"></canvas>'
        '<p class="none noscreen">The world in 3D needs WebGL 2, which this browser does not have.</p>'
        '<span class="corner">squares of 1 m</span></div><div class="tools">'
        '<button type="button" class="view" id="through" aria-pressed="false">Look through the camera</button>'
        f'<label for="follow">Follow</label><select id="follow">{who}</select>'
        '<button type="button" id="home">Reset view</button></div></figure>'
    )


def _option(value: str, words: str) -> Html:
    return Html(f'<option value="{escape(value, quote=True)}">{text(words)}</option>')


def _transport(scene: ShownScene) -> Html:
    last = len(scene.time) - 1
    bars = joined(Html(f'<div id="times-{i}" style="{_tint(p)}"></div>') for i, p in enumerate(scene.people))
    chips = joined(
        Html(
            f'<button type="button" id="person-{i}" aria-pressed="true" style="{_tint(person)}">'
            f"<i></i>{text(person.label)}</button>"
        )
        for i, person in enumerate(scene.people)
    )
    speeds = joined(
        Html(f'<option value="{speed}"{" selected" * (speed == 1)}>{speed:g}×</option>')
        for speed in (0.1, 0.25, 0.5, 1, 2)
    )
    return Html(
        '<section class="transport" aria-label="time and people">'
        f'<button type="button" id="play" aria-label="play"{" disabled" * (last == 0)}>▶</button>'
        f'<div class="track"><label class="hidden" for="time">time</label>'
        f'<input type="range" id="time" min="0" max="{last}" value="0" step="1"></div>'
        '<div class="reading"><b id="moment"></b><small id="number"></small></div>'
        f'<div class="times" aria-hidden="true">{bars}<span id="cursor"></span></div>'
        '<div class="people"><label class="hidden" for="speed">speed</label>'
        f'<select id="speed">{speeds}</select>{chips}</div></section>'
    )


def _tint(person: ShownPerson) -> str:
    return f"--tint: rgb({', '.join(map(str, person.colour))})"


def _links(scene: ShownScene) -> Html | str:
    if not scene.links:
        return ""
    files = joined(
        element("li", Html(f'<a href="{escape(link, quote=True)}" download>{text(words)}</a>'))
        for words, link in scene.links
    )
    return joined((element("h2", "Files beside this page"), Html(f"<ul>{files}</ul>")))


def _help() -> Html:
    keys = joined(element("li", element("kbd", key), " ", what) for key, what in KEYS)
    return Html(
        '<h2>Mouse, touch and keyboard</h2><p id="keys">In the world, drag to turn; drag with the right button, Shift '
        "or two fingers to move; the wheel or a pinch goes nearer. Pale bodies and bars were not seen but predicted. "
        f'An address that ends in <code>#t=1.5</code> opens the page at that second.</p><ul class="keys">{keys}</ul>'
    )
