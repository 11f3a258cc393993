"""OME-Zarr images (0.4 and 0.5) in and out: a pyramid of arrays, with axes, units and contrast.

What OME-Zarr has no words for, which is where a patient lies and what the values mean, is an attribute of
ours beside it: `"napari_inr_volume": {"origin_mm": [x, y, z], "direction": [[..], [..], [..]], "units": "HU",
"padding": -2000, "slice_positions_mm": [..]}`. Every key may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SourceError, VolumeError
from ..core.extras import extra
from ..core.resample import downsampled, lr_shape
from ..core.source import Source
from ..core.text import printable
from ..core.units import HU, is_units
from ..core.volume import AXIAL, Geometry, Triple, Volume, triple
from .foreign import errors_of_ours
from .lengths import completed, length
from .values import Voxels, guess_meaning, meaning_of

SUFFIX = ".zarr"
OWN = "napari_inr_volume"  # the attribute
VERSION = "0.5"
CHUNK = 32, 256, 256  # voxels along z, y, x
COARSEST = 256  # voxels along y and x; no level is made of one that has no more
FLAT = 1.5  # z is halved with y and x unless its voxels are so many times as long


def read_ome_zarr(path: Path) -> Volume:
    """Read a level of an image, when its voxels are asked for. See `volumes.read_volume`.

    It is the finest, or that whose folder within the image `path` names, such as `scan.ome.zarr/1`.
    """
    if is_level(path):
        folder = image_of(path)
        return _read(folder, path.relative_to(folder).as_posix())
    return _read(path, None)


def is_level(path: Path) -> bool:
    """Return whether a folder lies in an OME-Zarr image, as each of its levels does."""
    return image_of(path) != path and path.is_dir()


def image_of(path: Path) -> Path:
    """Return the folder of the image that a level lies in, by their names; without one, the path itself."""
    return next((each for each in (path, *path.parents) if each.suffix.lower() == SUFFIX), path)


def _read(path: Path, level: str | None) -> Volume:
    with extra("zarr", f"'{path.name}'", SourceError):
        import zarr
    try:
        group = zarr.open_group(path, mode="r")
    except (OSError, ValueError) as error:
        raise SourceError(f"'{path.name}' is no OME-Zarr image; give the folder that holds one") from error
    attributes = dict(group.attrs)
    image = _image(attributes.get("ome", attributes), path)
    dataset = _dataset(image["datasets"], level, path)
    array = group.get(str(dataset["path"]))
    if not isinstance(array, zarr.Array):
        raise SourceError(f"'{path.name}' has no array '{printable(str(dataset['path']))}'; copy it again")
    notes = attributes.get(OWN)
    return _volume(array, image, dataset, notes if isinstance(notes, dict) else {}, path)


def write_ome_zarr(source: Source, planes: Iterable[Voxels], folder: Path) -> None:
    """Write voxels and coarser levels of them, in the codecs that every reader of Zarr has.

    Each level has half the voxels along y and x, and along z where they are about as long. It is made of the
    level before, as that was written, a few slices at a time.
    """
    with extra("zarr", f"'{folder.name}'", SourceError):
        import zarr
    group = zarr.open_group(folder, mode="w", zarr_format=3)
    geometry, padding = source.geometry, source.padding
    datasets: list[dict[str, Any]] = []
    while True:
        chunks = tuple(map(min, geometry.shape, CHUNK))
        name = str(len(datasets))
        array = group.create_array(
            name, shape=geometry.shape, chunks=chunks, dtype=source.dtype, dimension_names=("z", "y", "x")
        )
        _fill(array, planes, chunks[0])
        datasets.append({"path": name, "coordinateTransformations": _placed(geometry)})
        if (factor := _step(geometry)) is None:
            break
        finer = OmeVoxels(array, (0, 1, 2), folder)
        planes = _coarser(finer, factor, source.intensity_range, padding)
        geometry, padding = geometry.coarser(factor, lr_shape(geometry.shape, factor)), None
    group.attrs.update({"ome": _ome(source, datasets), OWN: meaning_of(source)})


def _fill(array: Any, planes: Iterable[Voxels], depth: int) -> None:
    """Write slices to an array, a row of its chunks at a time."""
    row = np.empty((depth, *array.shape[1:]), array.dtype)
    for z, plane in enumerate(planes):
        row[z % depth] = plane
        if z % depth == depth - 1 or z == array.shape[0] - 1:
            first = z // depth * depth
            array[first : z + 1] = row[: z + 1 - first]


def is_ours(folder: Path) -> bool:
    """Return whether a folder is an image that `write_ome_zarr` wrote; raises nothing."""
    try:
        metadata = folder / "zarr.json"
        return metadata.is_file() and f'"{OWN}"' in metadata.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def _ome(source: Source, datasets: list[dict[str, Any]]) -> dict[str, Any]:
    low, high = source.intensity_range
    window = {"min": low, "max": high, "start": low, "end": high}
    label = "CT" if source.units == HU else "values"
    axes = [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]
    return {
        "version": VERSION,
        "multiscales": [{"name": label, "axes": axes, "datasets": datasets, "type": "lanczos"}],
        "omero": {"channels": [{"label": label, "color": "FFFFFF", "active": True, "window": window}]},
    }


def _placed(geometry: Geometry) -> list[dict[str, Any]]:
    """Return scale and translation (z, y, x) in mm; along the axes of the array, however they are turned."""
    along = np.linalg.solve(np.array(geometry.direction), np.array(geometry.origin))
    return [
        {"type": "scale", "scale": list(geometry.spacing)},
        {"type": "translation", "translation": along.tolist()},
    ]


def _step(geometry: Geometry) -> Triple | None:
    """Return by which factor along z, y, x the next level is coarser; None if there is to be none."""
    z_mm, *in_plane = geometry.spacing
    if max(geometry.shape[1:]) <= COARSEST:
        return None
    return 2.0 if geometry.shape[0] > 1 and z_mm < FLAT * min(in_plane) else 1.0, 2.0, 2.0


def _coarser(
    voxels: OmeVoxels, factor: Triple, intensity_range: tuple[float, float], padding: float | None
) -> Iterator[Voxels]:
    """Yield the slices of a level from those of the one before; padding counts as the lowest value."""
    low, high = intensity_range

    def plane(z: int) -> NDArray[np.float32]:
        found = voxels[z]
        found = found if padding is None else np.where(found == padding, low, found)
        return found.astype(np.float32)

    for each in downsampled(plane, voxels.shape, factor):
        values = each.astype(np.float64).clip(low, high)
        yield (np.rint(values) if voxels.dtype.kind in "iu" else values).astype(voxels.dtype)


def _image(ome: Any, path: Path) -> dict[str, Any]:
    """Return the only image that the metadata describe. Raises SourceError if there is none."""
    images = ome.get("multiscales") if isinstance(ome, dict) else None
    sound = isinstance(images, list) and images and isinstance(images[0], dict)
    image = images[0] if sound and isinstance(images, list) else {}
    datasets = image.get("datasets")
    if not isinstance(datasets, list) or not datasets or "path" not in datasets[0]:
        raise SourceError(
            f"'{path.name}' is Zarr without the metadata of an OME-Zarr image (multiscales); give the folder"
            " of an image, or save the array as .npy"
        )
    found: dict[str, Any] = image
    return found


def _dataset(datasets: list[Any], level: str | None, path: Path) -> dict[str, Any]:
    """Return the level of that name, or the finest, the first. Raises SourceError if it is not there."""
    named = {str(each["path"]): each for each in datasets if isinstance(each, dict) and "path" in each}
    found: dict[str, Any] | None = datasets[0] if level is None else named.get(level)
    if found is None:
        raise SourceError(f"'{path.name}' has no level '{level}'; it has {printable(', '.join(named))}")
    return found


def _volume(
    array: Any, image: dict[str, Any], dataset: dict[str, Any], notes: Mapping[str, Any], path: Path
) -> Volume:
    axes = image.get("axes") or [{"name": name} for name in "tczyx"[-array.ndim :]]
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in axes]
    names = [str(axis.get("name", "")).lower() for axis in axes]
    spatial = [names.index(name) for name in "zyx" if name in names]
    others = [each for each in range(array.ndim) if each not in spatial]
    if len(names) != array.ndim or len(spatial) != 3 or spatial != sorted(spatial):
        raise SourceError(
            f"'{path.name}' has the axes {printable(' '.join(names))}, not z, y, x in this order"
        )
    if any(array.shape[each] > 1 for each in others):
        long = ", ".join(f"{names[each]} {array.shape[each]}" for each in others if array.shape[each] > 1)
        raise SourceError(
            f"'{path.name}' holds more than z, y, x: {printable(long)}; extract one channel or time point"
        )
    scale = _numbers("scale", (dataset, image), array.ndim, 1.0)
    sizes = [length(scale[each], axes[each].get("unit", "mm"), exact=True) for each in spatial]
    spacing, assumed = completed(sizes)
    voxels = OmeVoxels(array, tuple(spatial), path)
    units, padding = str(notes.get("units")), notes.get("padding")
    if not is_units(notes.get("units")):
        units, padding = guess_meaning(voxels)
    known: dict[str, Any] = {}
    millimetres = [length(1, axes[each].get("unit", "mm"), exact=True) or 0 for each in spatial]
    at, finest = (
        np.array(_numbers("translation", (each, image), array.ndim, 0.0))[spatial] * millimetres
        for each in (dataset, image["datasets"][0])
    )
    if "origin_mm" in notes:
        direction = tuple(triple(row) for row in notes["direction"])
        origin = np.array(notes["origin_mm"]) + np.array(direction) @ (at - finest)
        known |= {"origin": triple(origin), "direction": direction}
    else:
        known["origin"] = triple(AXIAL @ at)
    is_finest = dataset is image["datasets"][0]
    if not is_finest:
        padding = None  # it counts as the lowest value there
    positions = notes.get("slice_positions_mm", ())
    if positions and (is_finest or len(positions) == voxels.shape[0]):
        known["slice_positions"] = tuple(float(value) for value in positions)
    return Volume(
        voxels=voxels,
        geometry=Geometry(shape=voxels.shape, spacing=spacing, **known),
        units=units,
        padding=None if padding is None else float(padding),
        found=("OME-Zarr",),
        notes=assumed,
    )


def _numbers(kind: str, places: tuple[dict[str, Any], ...], count: int, start: float) -> list[float]:
    """Return the scale, or the translation, that the coordinate transformations add up to, an axis each."""
    total = [start] * count
    for place in places:
        for each in place.get("coordinateTransformations") or ():
            if each.get("type") == kind and len(each.get(kind, ())) == count:
                numbers = [float(number) for number in each[kind]]
                join = np.multiply if kind == "scale" else np.add
                total = join(total, numbers).tolist()
    return total


class OmeVoxels:
    """The voxels (z, y, x) of an array whose other axes have one each. Thread-safe.

    The latest row of chunks is kept, so that reading slice by slice decodes each chunk once.
    """

    def __init__(self, array: Any, spatial: tuple[int, ...], path: Path) -> None:
        z, y, x = (array.shape[axis] for axis in spatial)
        self.shape = z, y, x
        self.dtype = array.dtype.newbyteorder("=")
        self._array, self._lead, self._path, self._spatial = array, spatial[0], path, spatial
        self._index = tuple(slice(None) if axis in spatial else 0 for axis in range(array.ndim))
        self._depth = int(array.chunks[spatial[0]])
        self._kept: tuple[int, NDArray[Any]] | None = None
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the place where they lie, to be read from there."""
        return _again, (
            self._path.absolute(),
            self._array.path,
            self._array.metadata.to_dict(),
            self._spatial,
        )

    def __getitem__(self, key: Any) -> NDArray[Any]:
        z, *rest = key if isinstance(key, tuple) else (key,)
        if not isinstance(z, slice):
            z = range(self.shape[0])[z]  # raises IndexError as NumPy does
            found: NDArray[Any] = self._row(z // self._depth)[(z % self._depth, *rest)]
            return found
        numbers = range(self.shape[0])[z]
        if len(numbers) == 0 or numbers.step != 1:
            raise VolumeError(f"slices are read without gaps, got {z}")
        rows = range(numbers[0] // self._depth, numbers[-1] // self._depth + 1)
        parts = []
        for row in rows:
            first = max(numbers[0] - row * self._depth, 0)
            parts.append(self._row(row)[(slice(first, numbers[-1] + 1 - row * self._depth), *rest)])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _row(self, number: int) -> NDArray[Any]:
        """Return the slices of a row of chunks. Raises SourceError if one is damaged."""
        with self._lock:
            if self._kept is None or self._kept[0] != number:
                index = list(self._index)
                index[self._lead] = slice(number * self._depth, (number + 1) * self._depth)
                with errors_of_ours(self._path, "read"):
                    found = np.asarray(self._array[tuple(index)])
                self._kept = number, found.astype(self.dtype, copy=False)
            return self._kept[1]


def _again(path: Path, name: str, metadata: dict[str, Any], spatial: tuple[int, ...]) -> OmeVoxels:
    """Return the voxels of an array in another process. Raises SourceError if they are not there."""
    with extra("zarr", f"'{path.name}'", SourceError):
        import zarr
    try:
        array = zarr.open_group(path, mode="r")[name]
    except (KeyError, OSError, ValueError) as error:
        raise SourceError(f"'{path}' cannot be read: there is no such OME-Zarr image") from error
    if not isinstance(array, zarr.Array) or array.metadata.to_dict() != metadata:
        raise SourceError(f"'{path}' is another image here, or was changed meanwhile")
    return OmeVoxels(array, spatial, path)
