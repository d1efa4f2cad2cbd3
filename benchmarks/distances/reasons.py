"""The texts of docs/distortions.md beside its figures."""

from __future__ import annotations

from collections.abc import Mapping


def method(pictures: int, commits: Mapping[str, str]) -> list[str]:
    """Return the paragraphs of docs/distortions.md on how the distortions were compared.

    ``commits`` maps each repository of released code to its commit.
    """
    checkouts = " and ".join(f"{name} at {commit}" for name, commit in commits.items())
    return [
        "Published rows and curves of people stand beside distortions that were made by code. That "
        "code was released, and here ours are held against it, picture by picture and level by "
        "level. This page is written by `make distances RELEASED=folder`, where the folder has "
        f"checkouts of {checkouts}; glitch_this and imagecorruptions-imaug, the fork of "
        "imagecorruptions whose nineteen corruptions all run today, come from the package index. "
        "None of that code is in this repository.",
        f"Each distortion was made of {pictures} photographs of natural16, one of each category, "
        "224 × 224. Where numbers are drawn, released code was given those that ours drew, in the "
        "order in which it asks, so the same noise, angles and shapes are compared. Differences "
        "are of all three channels, in levels of 255; a pixel differs where any channel does. What "
        "is stored of LAION-C went through JPEG of quality 100 besides, and of ImageNet-C through "
        "JPEG of quality 85: pictures here do not.",
        "glitch_this 1.0.2, with which LAION-C may have been made, glitches by the same lines as "
        "1.0.3. imagecorruptions is not the code of the data set ImageNet-C itself "
        "(hendrycks/robustness), which needs ImageMagick and was not run: that blurs motion and "
        "snow with ImageMagick, moves pixels of elastic transforms by other amounts behind an "
        "affine map, and cuts frost unscaled. The others have the same formulas and numbers there.",
    ]


REASONS = (
    (
        "colour contrast high-pass low-pass phase-scrambling-published power-equalisation rotation "
        "uniform-noise salt-and-pepper",
        "released code rounds when it stores a picture (`toimage` of SciPy), ours cuts fractions "
        "off, as the other families do: half of the values are one level darker",
    ),
    (
        "false-colour",
        "one value in some hundred thousands lies halfway between two levels of the monitor, and "
        "falls to the other side in float32",
    ),
    (
        "imagenet-c-gaussian-noise imagenet-c-speckle-noise imagenet-c-defocus-blur "
        "imagenet-c-glass-blur imagenet-c-motion-blur imagenet-c-zoom-blur "
        "imagenet-c-gaussian-blur imagenet-c-fog imagenet-c-brightness imagenet-c-contrast "
        "imagenet-c-elastic-transform imagenet-c-saturate",
        "ours computes in float32 and released code in float64, and what rounding alone keeps "
        "below a level (2⁻¹⁰ of one) still reaches it in ours",
    ),
    (
        "imagenet-c-shot-noise",
        "where light differs in the last place of float32, one number in some hundred thousand is "
        "drawn otherwise",
    ),
    (
        "imagenet-c-snow",
        "flakes are enlarged to 225 pixels at levels 1, 4 and 5. imagecorruptions cuts the last "
        "row and column off after they are blurred, ImageNet-C's own code before, and so do we: "
        "the border differs. And noise at the very threshold below which it is no flake may fall "
        "to the other side in float32",
    ),
    (
        "imagenet-c-spatter",
        "the outline of drops of water (levels 1 to 3) is OpenCV's Canny in released code, and in "
        "ours what is wet and has a dry neighbour; light in the drops differs with it. Of mud "
        "nothing but rounding differs. Spatter is one of the four for validation, and no published "
        "mean has it",
    ),
)
"""Names of distortions, separated by blanks, and the reason why they differ."""

NOT_COMPARED = (
    (
        "phase-scrambling",
        "by choice not what is released, which is phase-scrambling-published: ours keeps contrast "
        "(see `distortions/geirhos.py`)",
    ),
    (
        "eidolonI eidolonII eidolonIII",
        "the toolbox (gestaltrevision/Eidolon) runs under Python 2 only. Brought to Python 3 by "
        "hand once, with the correction by which the stimuli were made and which was never merged "
        "into it, and given our draws for four pictures at reach 1, 8 and 64, it differs in 65 to "
        "94 % of the pixels, by 1.5 to 7.8 levels on average. It convolves planes that are laid "
        "out in one line, so that half of each kernel lands one row lower; with convolution in two "
        "dimensions, which ours has, 10 to 48 % differ, by 0.1 to 1.3 levels: places of pixels in "
        "float32, most where large scales drag small ones far",
    ),
    (
        "laion-c-mosaic laion-c-stickers",
        "made of other photographs than the published ones, of which there were 100,000 and more; "
        "compare them with their own kind only",
    ),
)
