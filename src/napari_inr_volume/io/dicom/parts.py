"""What one SeriesInstanceUID holds: one acquisition, or several that must not be stacked together.

A series is one acquisition only if nothing says otherwise. Its images are parted

1. by their grid, where size, orientation, spacing, rescale type or frame of reference differ;
2. by a trait (kernel, thickness, phase, time, ...) whose values alternate along z or share positions. Values
   that follow each other along z, as those of a scan plan that changes, are one acquisition still, which is
   said; so are those that every image has for itself, as the number of each step of a step-and-shoot scan;
3. where every position has several images and no trait tells them apart, by their order in time or number.

And the other way round: files that each have a SeriesInstanceUID of their own are one series if they are of
one study and one grid and lie at even distances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from ...core.errors import SourceError
from .frames import Traits
from .header import Head, Slice
from .stack import SAME_PLACE, stack

SAME_NUMBER = 0.05  # share by which numbers of a trait may differ and count as one: they are measured
PAUSE = 5.0  # times the median: a pause between two images that is as long parts two acquisitions
LEAST_PAUSE = 1.0  # s
MERGED = 3  # files with a UID of their own, at least, that are put together
NAMED = 3  # values that a note names


@dataclass(frozen=True, kw_only=True)
class Part:
    """Images of one acquisition, and what tells them from others of the same series."""

    head: Head
    slices: tuple[Slice, ...]
    label: str = ""  # such as "kernel B70f"; "" where the series is whole
    notes: tuple[str, ...] = ()  # what was assumed in putting them together


def find_parts(files: Sequence[tuple[Head, Sequence[Slice]]]) -> list[Part]:
    """Return the acquisitions in the images of some files, those of one series one after the other."""
    series: dict[str, Part] = {}
    for head, slices in files:
        before = series.get(head.uid)
        images = (*(before.slices if before else ()), *slices)
        series[head.uid] = Part(head=before.head if before else head, slices=images)
    parts: list[Part] = []
    for part in _merged(list(series.values())):
        for grid in _by_grid(part):
            for apart in _by_traits(grid):
                parts += _by_order(apart)
    return [_with_notes(part) for part in parts]


# Put together


def _merged(parts: list[Part]) -> list[Part]:
    """Return the series, those of one image each put together where they make an even stack."""
    single = [part for part in parts if len(part.slices) == 1 and _placed(part.slices)]
    kinds: dict[Any, list[Part]] = {}
    for part in single:
        image = part.slices[0]
        same = (
            part.head.study,
            part.head.number,
            _grid(image, frame_of_reference=False),
            image.traits.kernel,
        )
        kinds.setdefault(same, []).append(part)
    merged: list[Part] = []
    gone: set[int] = set()
    for group in kinds.values():
        first = min(group, key=lambda part: _number(part.slices[0].instance))
        images = _one_frame_of_reference(tuple(part.slices[0] for part in group))
        note = (
            f"each of {len(group)} files has a series of its own; they were put together by study,"
            " orientation, size and spacing"
        )
        together = Part(head=first.head, slices=images, notes=(note,))
        if len(group) >= MERGED and all(map(_is_even_stack, _by_traits(together))):
            merged.append(together)
            gone |= {id(part) for part in group}
    return [part for part in parts if id(part) not in gone] + merged


def _is_even_stack(part: Part) -> bool:
    try:
        stacks = [stack(apart.slices) for apart in _by_order(part)]
    except SourceError:
        return False
    even = all(ordered.geometry.slice_positions is None for ordered in stacks)
    return even and sum(len(ordered.planes) for ordered in stacks) == len(part.slices)


def _one_frame_of_reference(images: Sequence[Slice]) -> tuple[Slice, ...]:
    return tuple(replace(image, frame_of_reference=images[0].frame_of_reference) for image in images)


# Taken apart


def _by_grid(part: Part) -> list[Part]:
    """Part images of different grids, where each grid has a stack; a single one is for `stack` to refuse."""
    notes = part.notes
    slices = part.slices
    frames_of_reference = {image.frame_of_reference for image in slices}
    if len(frames_of_reference) == len(slices) > 1 and len({image.path for image in slices}) > 1:
        slices = _one_frame_of_reference(slices)
        notes = (*notes, "each file has a frame of reference of its own, which was ignored")
    part = replace(part, slices=slices, notes=notes)
    grids = _grouped(slices, _grid)
    if len(grids) < 2 or not all(_positions(images) > 1 for images in grids.values()):
        return [part]
    return [
        replace(part, slices=images, label=_label(part.label, _grid_words(images[0], slices)))
        for images in grids.values()
    ]


def _grid(image: Slice, frame_of_reference: bool = True) -> tuple[Any, ...]:
    """Return what images of one grid have in common, to the digits in which they are stored."""
    orientation = None if image.orientation is None else tuple(round(v, 2) + 0.0 for v in image.orientation)
    spacing = None if image.pixel_spacing is None else tuple(round(v, 3) for v in image.pixel_spacing)
    reference = image.frame_of_reference if frame_of_reference else ""
    return image.size, orientation, spacing, image.rescale_type, reference


def _grid_words(image: Slice, among: Sequence[Slice]) -> str:
    """Return in words what is special about an image's grid."""
    rows, columns = image.size
    spacing = " x ".join(f"{mm:g}" for mm in image.pixel_spacing or ())
    words = {
        "size": f"{rows} x {columns}",
        "orientation": _plane(image),
        "spacing": f"pixels of {spacing} mm",
        "rescale type": f"values in {image.rescale_type}",
        "frame of reference": f"frame of reference ...{image.frame_of_reference[-6:]}",
    }
    differing = [
        name
        for name, values in zip(words, zip(*map(_grid, among), strict=True), strict=True)
        if len(set(values)) > 1
    ]
    return ", ".join(words[name] for name in differing)


def _plane(image: Slice) -> str:
    """Return how the slices of an image lie."""
    if image.orientation is None:
        return "no orientation"
    normal = np.cross(image.orientation[:3], image.orientation[3:])
    return ("sagittal", "coronal", "axial")[int(np.abs(normal).argmax())]


def _by_traits(part: Part) -> list[Part]:
    """Part images by the first trait that says that they are several acquisitions, and those again."""
    if not _placed(part.slices):
        return [part]
    for name, words in TRAITS.items():
        groups = _trait_groups(part.slices, name)
        if len(groups) < 2 or not _alternate(groups.values()):
            continue
        if 2 * sum(_positions(images) == 1 for images in groups.values()) > len(groups):
            continue  # most images have a value of their own: it tells images apart, not acquisitions
        parts = []
        for value, images in groups.items():
            shown = _clock(value) if name == "seconds" and value is not None else _short(value)
            label = _label(part.label, words.format(shown))
            parts += _by_traits(replace(part, slices=images, label=label))
        return parts
    return [part]


# In the order in which they part a series, as a person reads them.
TRAITS = {
    "kernel": "kernel {}",
    "phase": "phase {} %",
    "time_point": "time point {}",
    "stack": "stack {}",
    "thickness": "slices of {} mm",
    "energy": "{} kV",
    "echo": "echo {}",
    "trigger": "trigger time {} ms",
    "contrast": "contrast {}",
    "filter": "filter {}",
    "image_type": "image type {}",
    "description": "{}",
    "acquisition": "acquisition {}",
    "seconds": "taken at {}",
}
assert set(TRAITS) == set(Traits._fields)


def _trait_groups(slices: Sequence[Slice], name: str) -> Mapping[Any, tuple[Slice, ...]]:
    """Return the images by their value of a trait; numbers that nearly agree count as one."""
    if name == "seconds":
        return _grouped(slices, _acquisition_of_second(slices))
    values = sorted({v for image in slices if isinstance(v := getattr(image.traits, name), float)})
    nearest: dict[float, float] = {}
    for value in values:
        before = next(reversed(nearest.values()), None)
        near = before is not None and abs(value - before) <= SAME_NUMBER * abs(value)
        nearest[value] = before if near and before is not None else value
    if name in ("acquisition", "time_point"):
        nearest = {value: value for value in values}  # these are counted

    def value_of(image: Slice) -> Any:
        value = getattr(image.traits, name)
        return nearest.get(value, value)

    return _grouped(slices, value_of)


def _acquisition_of_second(slices: Sequence[Slice]) -> Callable[[Slice], float | None]:
    """Return what tells the second in which an image's acquisition began: pauses part them."""
    times = sorted({image.traits.seconds for image in slices if image.traits.seconds is not None})
    pauses = np.diff(times)
    begins = dict.fromkeys(times[:1], times[0] if times else 0.0)
    for before, time, pause in zip(times, times[1:], pauses, strict=False):
        long = pause >= LEAST_PAUSE and (len(times) == 2 or pause > PAUSE * float(np.median(pauses)))
        begins[time] = time if long else begins[before]
    return lambda image: None if image.traits.seconds is None else begins[image.traits.seconds]


def _alternate(groups: Iterable[Sequence[Slice]]) -> bool:
    """Return whether groups of images alternate along z or share positions, instead of following."""
    groups = list(groups)
    normal = _normal(groups[0][0])
    heights = [sorted(float(np.array(image.position) @ normal) for image in images) for images in groups]
    heights.sort()
    return any(after[0] <= before[-1] + SAME_PLACE for before, after in pairwise(heights))


def _by_order(part: Part) -> list[Part]:
    """Part a series with as many images at each of its positions, by their order there."""
    if not _placed(part.slices):
        return [part]
    normal = _normal(part.slices[0])
    by_sop: dict[Any, Slice] = {}
    for image in part.slices:
        by_sop.setdefault((image.sop or image.path, image.frame), image)  # a copy is no other image
    places = _places(list(by_sop.values()), normal)
    many = {len(images) for images in places}
    count = many.pop()
    if many or count < 2 or len(places) < 2:
        return [part]

    def order(image: Slice) -> tuple[float, ...]:
        traits = image.traits
        keys = (traits.seconds, traits.trigger, traits.acquisition, image.instance, image.frame)
        return tuple(_number(key) for key in keys)

    ranked = [sorted(images, key=order) for images in places]
    if any(order(a) == order(b) for images in ranked for a, b in pairwise(images)):
        return [part]
    parts = [tuple(images[rank] for images in ranked) for rank in range(count)]
    if not all(_is_run([order(image) for image in images]) for images in parts):
        return [part]
    chosen = {id(image) for image in by_sop.values()}
    copies = [image for image in part.slices if id(image) not in chosen]
    with_copies = [
        (*images, *(copy for copy in copies if (copy.sop, copy.frame) in {(i.sop, i.frame) for i in images}))
        for images in parts
    ]
    return [
        replace(part, slices=images, label=_label(part.label, f"image {rank} of {count} at each position"))
        for rank, images in enumerate(with_copies, start=1)
    ]


def _is_run(keys: Sequence[tuple[float, ...]]) -> bool:
    """Return whether keys only rise, or only fall, along z."""
    return list(keys) in (sorted(keys), sorted(keys, reverse=True))


# What is said


def _with_notes(part: Part) -> Part:
    """Return the part with what is unusual about it: traits that change along z, what frames assumed."""
    notes = [*part.notes, *dict.fromkeys(note for image in part.slices for note in image.notes)]
    if _placed(part.slices):
        normal = _normal(part.slices[0])
        along = sorted(part.slices, key=lambda image: float(np.array(image.position) @ normal))
        for name in ("kernel", "thickness", "energy"):
            values = [value for value, _ in groupby(getattr(image.traits, name) for image in along)]
            if 1 < len(values) <= NAMED and len(set(values)) == len(values):
                words = ", then ".join(map(_short, values))
                title = {"kernel": "kernel", "thickness": "slice thickness", "energy": "tube voltage"}[name]
                unit = {"kernel": "", "thickness": " mm", "energy": " kV"}[name]
                notes.append(f"{title} {words}{unit} along z")
    return replace(part, notes=tuple(notes))


def _label(before: str, more: str) -> str:
    return ", ".join(words for words in (before, more) if words)


def _short(value: object) -> str:
    return "not given" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _clock(seconds: float) -> str:
    minutes, second = divmod(seconds, 60)
    return f"{int(minutes) // 60:02}:{int(minutes) % 60:02}:{second:05.2f}"


# Where they lie


def _placed(slices: Sequence[Slice]) -> bool:
    """Return whether it is known where the images lie."""
    return all(image.position is not None and image.orientation is not None for image in slices)


def _normal(image: Slice) -> Any:
    assert image.orientation is not None
    return np.cross(image.orientation[:3], image.orientation[3:])


def _places(slices: Sequence[Slice], normal: Any) -> list[list[Slice]]:
    """Return the images by their height along the normal, from the lowest."""
    height = {id(image): float(np.array(image.position) @ normal) for image in slices}
    places: list[list[Slice]] = []
    for image in sorted(slices, key=lambda image: height[id(image)]):
        if places and height[id(image)] - height[id(places[-1][0])] <= SAME_PLACE:
            places[-1].append(image)
        else:
            places.append([image])
    return places


def _positions(slices: Sequence[Slice]) -> int:
    """Return at how many positions the images lie; 0 if that is unknown."""
    return len(_places(slices, _normal(slices[0]))) if _placed(slices) else 0


def _grouped(slices: Sequence[Slice], key: Callable[[Slice], Any]) -> dict[Any, tuple[Slice, ...]]:
    """Return the images by their key, in the order of the keys, None first."""
    groups: dict[Any, list[Slice]] = {}
    for image in slices:
        groups.setdefault(key(image), []).append(image)
    return {value: tuple(groups[value]) for value in sorted(groups, key=_rank)}


def _rank(value: Any) -> tuple[bool, str, Any]:
    """Return what values of any types, or tuples of them, are ordered by."""
    inner = tuple(map(_rank, value)) if isinstance(value, tuple) else value
    return value is not None, type(value).__name__, inner


def _number(value: float | None) -> float:
    return -1.0 if value is None else float(value)
