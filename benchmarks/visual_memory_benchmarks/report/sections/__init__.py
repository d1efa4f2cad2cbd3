"""The sections of the page, in their order."""

from visual_memory_benchmarks.report.section import Section
from visual_memory_benchmarks.report.sections.augmentation import AUGMENTATION
from visual_memory_benchmarks.report.sections.calibration import CALIBRATION
from visual_memory_benchmarks.report.sections.class_addition import CLASS_ADDITION
from visual_memory_benchmarks.report.sections.consistency import CONSISTENCY
from visual_memory_benchmarks.report.sections.dichotomy import DICHOTOMY
from visual_memory_benchmarks.report.sections.distortions import CONFUSIONS, CORRUPTIONS, LEVELS
from visual_memory_benchmarks.report.sections.edits import EDITS
from visual_memory_benchmarks.report.sections.embedders import EMBEDDERS
from visual_memory_benchmarks.report.sections.label_noise import LABEL_NOISE
from visual_memory_benchmarks.report.sections.leaderboard import AGGREGATES, LEADERBOARD
from visual_memory_benchmarks.report.sections.open_set import OPEN_SET
from visual_memory_benchmarks.report.sections.pruning import PRUNING
from visual_memory_benchmarks.report.sections.scaling import SCALING
from visual_memory_benchmarks.report.sections.shape_bias import SHAPE_BIAS
from visual_memory_benchmarks.report.sections.shortcut import SHORTCUT
from visual_memory_benchmarks.report.sections.steering import STEERING
from visual_memory_benchmarks.report.sections.triplets import TRIPLETS
from visual_memory_benchmarks.report.sections.unlearning import UNLEARNING
from visual_memory_benchmarks.report.sections.votings import VOTINGS

SECTIONS: tuple[Section, ...] = (
    CONSISTENCY,
    SHAPE_BIAS,
    LEVELS,
    CONFUSIONS,
    CORRUPTIONS,
    EDITS,
    STEERING,
    AUGMENTATION,
    VOTINGS,
    CLASS_ADDITION,
    SCALING,
    PRUNING,
    LABEL_NOISE,
    UNLEARNING,
    OPEN_SET,
    CALIBRATION,
    EMBEDDERS,
    DICHOTOMY,
    TRIPLETS,
    SHORTCUT,
    AGGREGATES,
    LEADERBOARD,
)
