"""A CT head that belongs to nobody: the deterministic phantom of the demo, the samples and the tests.

It is sculpted in patient millimetres from ellipsoids and superquadrics (x to the left, y to the back, z to
the top, the origin in the middle of the head), so every shape shows the same head, finer or coarser. The HU
are textbook values; the anatomy is a likeness to look at and to compress, not one to measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .errors import VolumeError
from .volume import Triple, Volume

Field = NDArray[np.float32]  # one number per voxel (z, y, x) of the grid, or of a box of it
Box = tuple[slice, slice, slice]

FIELD_OF_VIEW = 250.0  # mm, the diameter of the scan circle
BOTTOM, HEIGHT = -100.0, 192.0  # mm along z: from the lower teeth to above the vertex
PADDING = -2000  # what many scanners store outside the scan circle
SKULL = 7.0  # mm, its mean thickness
NOISE = 4.0  # HU, standard deviation

AIR, FAT, CSF, WHITE, GREY, MUSCLE = -1000.0, -95.0, 8.0, 27.0, 39.0, 58.0  # HU
DIPLOE, CORTICAL, ENAMEL, FILLING = 550.0, 1450.0, 2300.0, 3071.0  # HU


@dataclass(frozen=True)
class Blob:
    """A superquadric with its axes along the patient's, or turned about z."""

    centre: Triple  # mm, patient x, y, z
    radii: Triple  # mm along its own axes
    hu: float = 0.0
    power: int = 2  # 2 is an ellipsoid, 4 is boxier
    turn: float = 0.0  # degrees about z, from x (left) towards y (back)


def _both(*left: Blob) -> tuple[Blob, ...]:
    """Return blobs of the left side with their mirror images."""
    return left + tuple(
        replace(blob, centre=(-blob.centre[0], *blob.centre[1:]), turn=-blob.turn) for blob in left
    )


def _row(count: int, spread: float, middle: Triple, radii: tuple[float, float], tooth: Blob) -> list[Blob]:
    """Return copies of `tooth` along the arch of a jaw: an ellipse about `middle`, open to the back."""
    row = []
    for angle in np.radians(np.linspace(-spread, spread, count)):
        x = middle[0] + radii[0] * math.sin(angle)
        y = middle[1] - radii[1] * math.cos(angle)
        row.append(replace(tooth, centre=(x, y, middle[2]), turn=math.degrees(angle)))
    return row


# What the skin encloses, and what the skull does: each the smooth union of its blobs.
HEAD = (
    Blob((0, 4, 2), (77, 97, 84)),
    Blob((0, -28, -48), (67, 60, 34)),  # cheeks
    Blob((0, -34, -84), (56, 60, 60)),  # jaw
    Blob((0, 30, -96), (64, 62, 80)),  # neck
    Blob((0, -88, -50), (14, 19, 22)),  # nose
    *_both(Blob((73, 20, -38), (4, 17, 28), turn=-26)),  # ears
)
CAVITY = (
    Blob((0, 5, 14), (62, 80, 58)),  # hemispheres
    *_both(Blob((36, -10, -14), (24, 32, 26))),  # temporal lobes
    Blob((0, 46, -26), (50, 36, 30)),  # posterior fossa
)
BONES = (
    *_both(
        Blob((56, 28, -46), (13, 18, 22), 900),  # mastoids
        Blob((33, -58, -27), (23, 31, 21), 1200),  # orbits
        Blob((25, -60, -60), (20, 25, 20), 800),  # upper jaw around its sinuses
        Blob((52, -58, -44), (6, 20, 8), 1200, turn=-40),  # cheekbones
        Blob((60, -24, -45), (2.5, 28, 4), 1200),  # zygomatic arches
        Blob((48, -10, -78), (4, 15, 34), 1300, 4, turn=-8),  # branches of the lower jaw
        Blob((22, 20, -84), (14, 10, 7), 850),  # first vertebra
    ),
    Blob((0, -8, -42), (14, 22, 14), 650),  # clivus and body of the sphenoid
    Blob((0, -80, -38), (9, 11, 16), 900),  # nasal bones
    Blob((0, -62, -77), (23, 28, 3.5), 1000),  # hard palate
    Blob((0, 10, -86), (7, 8, 20), 900),  # tooth of the axis
    Blob((0, 50, -84), (22, 6, 6), 800),  # arch of the first vertebra
    *_row(13, 78, (0, -58, -104), (34, 33), Blob((0, 0, 0), (6, 6, 13), 1100)),  # body of the lower jaw
)
# Drawn into the cavity in this order.
BRAIN = (
    Blob((0, 8, 30), (1.9, 80, 50), CSF),  # fissure between the hemispheres, with the falx
    Blob((0, 12, 38), (0.7, 80, 50), 62),
    Blob((0, 78, 30), (4, 6, 40), 52),  # sagittal sinus
    *_both(
        Blob((50, -16, -4), (14, 3, 6), CSF, turn=-25),  # Sylvian fissures
        Blob((46, 4, 4), (3, 14, 8), CSF),
        Blob((22, -2, 26), (16, 46, 14), WHITE),  # centrum semiovale
        Blob((13, -18, 12), (6, 14, 13), GREY, turn=10),  # heads of the caudates
        Blob((25, -4, 4), (6, 17, 12), GREY + 1, turn=-16),  # lentiform nuclei
        Blob((11, 12, 4), (8, 14, 11), GREY, turn=-22),  # thalami
        Blob((9, -24, 13), (4, 14, 10), CSF, turn=14),  # lateral ventricles: front horns
        Blob((11, 4, 23), (6, 27, 7), CSF, turn=-8),  # bodies
        Blob((24, 34, 10), (5, 17, 9), CSF, turn=-14),  # back horns
        Blob((23, 30, 9), (2.2, 3.5, 3), 210),  # choroid plexus, calcified
    ),
    Blob((0, 2, 19), (12, 4, 3), WHITE),
    Blob((0, 4, 5), (2.4, 16, 10), CSF),  # third ventricle
    Blob((0, 25, 7), (2.2, 2.6, 2.4), 230),  # pineal gland, calcified
    Blob((0, -12, -20), (17, 12, 7), CSF),  # basal cisterns
    Blob((0, 21, -8), (16, 6, 7), CSF),
    Blob((0, 10, -32), (14, 14, 34), CSF),
    Blob((0, 7, -12), (13, 11, 10), WHITE + 3),  # midbrain
    Blob((0, 10, -32), (12, 11, 18), WHITE + 3),  # pons
    Blob((0, 25, -33), (7, 5, 8), CSF),  # fourth ventricle
)
AIRWAYS = (
    *_both(
        Blob((26, -60, -60), (15, 19, 16), AIR),  # maxillary sinuses
        Blob((7, -64, -27), (4.5, 5.5, 8), AIR),  # ethmoid cells
        Blob((7, -52, -27), (4.5, 5, 8), AIR),
        Blob((7, -41, -28), (4, 4.5, 7), AIR),
        Blob((8, -23, -36), (7, 10, 8), AIR),  # sphenoid sinus
        Blob((13, -80, 0), (11, 5, 11), AIR),  # frontal sinuses
        Blob((8, -68, -56), (7, 32, 18), AIR),  # nose
        Blob((58, 8, -46), (13, 3, 3), AIR, turn=10),  # ear canals
    ),
    Blob((0, -24, -66), (13, 11, 12), AIR),  # nasopharynx
    Blob((0, -22, -92), (12, 6, 22), AIR),
    Blob((0, -60, -84), (18, 26, 3), AIR),  # mouth
)
SOFT = (
    Blob((0, -62, -50), (1.1, 32, 26), 150),  # nasal septum
    *_both(
        Blob((11, -58, -64), (3, 19, 4.5), 50),  # nasal conchae
        Blob((10, -55, -52), (2.5, 14, 4), 50),
        Blob((33, -66, -27), (19, 29, 17), FAT),  # orbits
        Blob((33, -69, -27), (12.5, 12.5, 12.5), 45),  # eyes
        Blob((33, -69, -27), (11, 11, 11), 12),
        Blob((33, -78, -27), (5, 2.2, 5), 85),  # lenses
        Blob((24, -45, -27), (2.3, 16, 2.3), 38, turn=28),  # optic nerves
        Blob((20, -54, -27), (1.8, 15, 4), 55, turn=6),  # muscles of the eyes
        Blob((40, -49, -27), (1.8, 17, 4), 55, turn=38),
    ),
    Blob((0, 26, -80), (12, 11, 36), CSF),  # spinal canal and cord
    Blob((0, 25, -80), (6.5, 5.5, 44), WHITE + 5),
)
DENSE = (
    *_both(
        Blob((37, 4, -36), (31, 8, 9), 1500, turn=38),  # petrous ridges
        Blob((40, 5, -37), (3, 3, 3), 2200),  # labyrinths
    ),
    *_row(12, 76, (0, -58, -83), (25, 27), Blob((0, 0, 0), (3.4, 4.6, 8), ENAMEL)),
    *_row(12, 76, (0, -58, -97), (24, 25), Blob((0, 0, 0), (3.2, 4.4, 7), ENAMEL)),
    Blob((22, -66, -86), (3, 3, 3), FILLING),
)


@dataclass(frozen=True)
class _Grid:
    """Patient coordinates (mm) of the voxel centres, to be broadcast, and how many voxels they span."""

    shape: tuple[int, int, int]
    x: Field  # (1, ny, nx): heads are wider at the back
    y: Field  # (1, ny, 1)
    z: Field  # (nz, 1, 1)

    def box(self, blob: Blob, margin: float) -> Box:
        """Return the part of the grid that holds a blob and `margin` mm around it."""
        cos, sin = abs(math.cos(math.radians(blob.turn))), abs(math.sin(math.radians(blob.turn)))
        a, b, c = blob.radii
        reach = (a * cos + b * sin, a * sin + b * cos, c)
        near = [
            np.abs(axis - centre) <= radius + margin
            for axis, centre, radius in zip((self.x, self.y, self.z), blob.centre, reach, strict=True)
        ]
        return (
            _span(near[2].any(axis=(1, 2))),
            _span(near[1].any(axis=(0, 2))),
            _span(near[0].any(axis=(0, 1))),
        )


def head_phantom(shape: tuple[int, int, int] = (48, 256, 256), *, seed: int = 0) -> Volume:
    """Return a CT head of `shape` voxels (z, y, x): int16 HU from -1024 to 3071, with padding of -2000.

    The padding lies outside the scan circle. The spacing follows from the shape: the volume is always
    192 x 250 x 250 mm large. Another `seed` gives other folds of the brain and other noise; the same
    arguments give the same bytes. Raises VolumeError for a shape too small to show a head.
    """
    if len(shape) != 3 or min(shape) < 8:
        raise VolumeError(f"the phantom needs three axes of at least 8 voxels, got shape {shape}")
    random = np.random.default_rng(seed)
    grid = _grid(shape)

    head = _depth_below(grid, HEAD)
    cavity = _depth_below(grid, CAVITY) + 0.7 * _waves(grid, random, 60)
    hu = _soft_tissue(grid, head, random)
    _head_rest(grid, hu, head)
    for bone in BONES:
        _draw(hu, grid, bone, within=head - 2)
    _mastoid_cells(grid, hu, random)
    _skull(grid, hu, cavity, random)
    _cover(hu, _brain(grid, cavity, random), cavity)
    for blob in BRAIN:
        _draw(hu, grid, blob, within=cavity)
    for blob in AIRWAYS + SOFT:
        _draw(hu, grid, blob, within=head - 2)
    for blob in DENSE:
        _draw(hu, grid, blob)

    hu = ndimage.gaussian_filter(hu, (0.3, 0.55, 0.55))  # a scanner's voxel sees a little of its neighbours
    hu += _noise(grid, random)
    voxels = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    voxels[:, _outside_scan_circle(shape)] = PADDING
    spacing = (HEIGHT / shape[0], FIELD_OF_VIEW / shape[1], FIELD_OF_VIEW / shape[2])
    origin = (
        (spacing[2] - FIELD_OF_VIEW) / 2,
        (spacing[1] - FIELD_OF_VIEW) / 2,
        spacing[0] / 2 + BOTTOM,
    )
    return Volume.from_array(voxels, spacing, origin=origin, padding=PADDING)


def _grid(shape: tuple[int, int, int]) -> _Grid:
    z, y, x = ((np.arange(length) + 0.5) / length for length in shape)  # 0 to 1
    z = z * HEIGHT + BOTTOM
    y, x = (y - 0.5) * FIELD_OF_VIEW, (x - 0.5) * FIELD_OF_VIEW
    wide = x / (1 + 0.0008 * y[:, np.newaxis])
    return _Grid(
        shape,
        wide[np.newaxis].astype(np.float32),
        y[np.newaxis, :, np.newaxis].astype(np.float32),
        z[:, np.newaxis, np.newaxis].astype(np.float32),
    )


def _span(near: NDArray[np.bool_]) -> slice:
    """Return the slice from the first to the last True."""
    found = np.flatnonzero(near)
    return slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, 0)


def _depth(grid: _Grid, blob: Blob, box: Box) -> Field:
    """How deep (mm, to first order) each voxel of a box lies below the surface of a blob."""
    cos, sin = math.cos(math.radians(blob.turn)), math.sin(math.radians(blob.turn))
    x = grid.x[:, box[1], box[2]] - np.float32(blob.centre[0])
    y = grid.y[:, box[1]] - np.float32(blob.centre[1])
    z = grid.z[box[0]] - np.float32(blob.centre[2])
    level, slope = np.float32(0), np.float32(0)
    for along, radius in zip((x * cos + y * sin, y * cos - x * sin, z), blob.radii, strict=True):
        ratio = np.maximum(np.abs(along) / np.float32(radius), np.float32(0.01))  # no slope in the centre
        power = ratio ** (blob.power - 1)
        level = level + power * ratio
        slope = slope + (power / np.float32(radius)) ** 2
    # With r = level^(1/p), which is 1 at the surface, the depth is (1 - r) / |grad r|.
    r = np.sqrt(level) if blob.power == 2 else np.sqrt(np.sqrt(level))
    depth: Field = (1 - r) * level / (r * np.sqrt(slope))
    return depth


def _depth_below(grid: _Grid, blobs: tuple[Blob, ...]) -> Field:
    """Depth (mm) below the smooth union of blobs; far outside it is only known to be negative."""
    union = np.full(grid.shape, -99, np.float32)
    for blob in blobs:
        box = grid.box(blob, margin=16)
        depth, held = _depth(grid, blob, box), union[box]
        seam = np.maximum(8 - np.abs(depth - held), 0)  # mm: rounds the crease between two blobs
        union[box] = np.maximum(depth, held) + seam**2 / 32
    return union


def _cover(hu: Field, value: Field | float, depth: Field) -> None:
    """Lay `value` over `hu` where depth is positive; half a millimetre either side is mixed."""
    hu += np.clip(depth + np.float32(0.5), 0, 1) * (value - hu)


def _draw(hu: Field, grid: _Grid, blob: Blob, within: Field | None = None) -> None:
    """Lay a blob over `hu`, if need be only where the depth `within` is positive."""
    box = grid.box(blob, margin=1)
    depth = _depth(grid, blob, box)
    _cover(hu[box], blob.hu, depth if within is None else np.minimum(depth, within[box]))


def _waves(grid: _Grid, random: np.random.Generator, wavelength: float, count: int = 24) -> Field:
    """Smooth random field of mean 0 and variance 1: plane waves of about `wavelength` mm, any direction."""
    k = random.standard_normal((3, count, 1))
    k *= 2 * np.pi / (wavelength * random.uniform(0.75, 1.35, (count, 1)) * np.linalg.norm(k, axis=0))
    phase = random.uniform(0, 2 * np.pi, (count, 1))
    middle = grid.x[0, grid.shape[1] // 2]  # where the head is not widened
    # A plane wave is a product of one wave an axis; float64, so that rounding hides the order of the sums.
    along_z = np.exp(1j * (k[0] * grid.z[:, 0, 0] + phase)).T
    along_y, along_x = np.exp(1j * k[1] * grid.y[0, :, 0]), np.exp(1j * k[2] * middle)
    in_plane = (along_y[:, :, np.newaxis] * along_x[:, np.newaxis, :]).reshape(count, -1)
    waves = along_z.real @ in_plane.real - along_z.imag @ in_plane.imag
    field: Field = (waves * math.sqrt(2 / count)).reshape(grid.shape).astype(np.float32)
    return field


def _soft_tissue(grid: _Grid, head: Field, random: np.random.Generator) -> Field:
    """HU of air, skin, fat and muscle from the depth below the skin."""
    depth = head + np.where(head > 3, 1.2 * _waves(grid, random, 22), 0)
    levels = np.interp(depth, [-0.5, 0.5, 2, 3, 6, 7.5], [AIR, 20, 35, FAT, FAT, MUSCLE]).astype(np.float32)
    planes = np.clip(1.5 - np.abs(_waves(grid, random, 36)) / 0.09, 0, 0.7)  # fat between the muscles
    levels += planes * np.clip((head - 7) / 2, 0, 1) * (FAT - MUSCLE)
    return levels


def _head_rest(grid: _Grid, hu: Field, head: Field) -> None:
    """Add the cradle below the head: foam in a carbon shell, the same in every slice."""
    slice_0 = (slice(0, 1), slice(None), slice(None))
    outside = _depth(grid, Blob((0, 2, 0), (101, 116, 4000)), slice_0)
    inside = _depth(grid, Blob((0, 2, 0), (88, 100, 4000)), slice_0)
    shell = np.minimum(np.minimum(outside, -inside), grid.y - 40)
    for layer, inset in ((-100.0, 0.0), (-920.0, 1.5)):
        _cover(hu, layer, np.minimum(shell - np.float32(inset), -1 - head))


def _mastoid_cells(grid: _Grid, hu: Field, random: np.random.Generator) -> None:
    """Fill the mastoids with air cells."""
    bubbles = 3 * (_waves(grid, random, 8) - np.float32(0.1))
    for blob in _both(Blob((57, 26, -48), (11, 15, 19), -700)):
        _draw(hu, grid, blob, within=bubbles)


def _skull(grid: _Grid, hu: Field, cavity: Field, random: np.random.Generator) -> None:
    """Lay the vault and base of the skull around the cavity: two tables with the diploe between."""
    thickness = SKULL + 0.9 * _waves(grid, random, 80)
    outwards = -cavity / thickness
    bone = np.interp(outwards, [0.25, 0.38, 0.62, 0.75], [CORTICAL, DIPLOE, DIPLOE, CORTICAL])
    _cover(hu, bone.astype(np.float32), np.minimum(-cavity, cavity + thickness))


def _brain(grid: _Grid, depth: Field, random: np.random.Generator) -> Field:
    """HU of the brain from the depth below the inner table: CSF, folded cortex, white matter."""
    fold = np.abs(_waves(grid, random, 19))  # 0 in the middle of a sulcus
    white = np.clip((np.maximum(fold, depth / 28) - 0.6) / 0.3, 0, 1) * np.clip((depth - 5) / 2, 0, 1)
    sulcus = np.clip(1.4 - fold / 0.14, 0, 1) * np.clip((20 - depth) / 6, 0, 1)
    surface = np.clip(1.7 - depth + 0.8 * _waves(grid, random, 25), 0, 1)
    tissue = GREY + (WHITE - GREY) * white + 1.0 * _waves(grid, random, 9)
    brain: Field = tissue + (CSF - tissue) * np.maximum(sulcus, surface)
    return brain


def _noise(grid: _Grid, random: np.random.Generator) -> Field:
    """CT noise (HU): correlated in the plane and poor in low frequencies, as a ramp filter leaves it."""
    white = random.standard_normal(grid.shape, dtype=np.float32)
    noise: Field = ndimage.gaussian_filter(white, (0, 0.7, 0.7)) - ndimage.gaussian_filter(
        white, (0, 1.8, 1.8)
    )
    noise *= NOISE / noise.std(dtype=np.float64)
    return noise


def _outside_scan_circle(shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Mask (y, x) of the pixels that the scanner never measured."""
    y, x = (np.arange(length) * 2 + 1 - length for length in shape[1:])
    outside: NDArray[np.bool_] = (y[:, np.newaxis] / shape[1]) ** 2 + (x / shape[2]) ** 2 > 1
    return outside
