"""The demo's picture: digits with the models' answers, wrong ones marked."""

from __future__ import annotations

from typing import Any

import numpy as np
from demo_results import Results
from digits import SHADES, Digits
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

COLUMNS, HARD_ROWS, ROWS = 8, 3, 6
CELL = 14  # picture pixels for a pixel of a digit
IMAGE, GAP, HEADING, CAPTION = 8 * CELL, 18, 44, 44
PAPER, INK, MUTED, WRONG, WHITE = "#fcfcfb", "#1d1d1b", "#6d6c66", "#c62f2f", "#ffffff"


def chosen(results: Results, digits: Digits) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the digits that most models get wrong, and of as many others, drawn at random (seeded)."""
    answers = np.stack([model.answers() for model in results.classifiers])
    mistakes = (answers != digits.labels).sum(axis=0)
    hardest = np.argsort(-mistakes, kind="stable")[: COLUMNS * HARD_ROWS]
    rest = np.setdiff1d(np.arange(len(digits)), hardest)
    drawn = np.random.default_rng(0).choice(rest, COLUMNS * (ROWS - HARD_ROWS), replace=False)
    return hardest, np.sort(drawn)


def draw(results: Results, digits: Digits) -> Image.Image:
    """Six rows of eight digits, each above the answers of three models and of the vote of five."""
    hardest, others = chosen(results, digits)
    width = GAP + COLUMNS * (IMAGE + GAP)
    block = HEADING + HARD_ROWS * (IMAGE + CAPTION)
    picture = Image.new("RGB", (width, 2 * block + HEADING), PAPER)
    canvas = ImageDraw.Draw(picture)
    headings = ("The digits that most models get wrong", "Others, drawn at random")
    for number, (heading, indices) in enumerate(zip(headings, (hardest, others), strict=True)):
        top = number * block
        canvas.text((GAP, top + 12), heading, INK, ImageFont.load_default(19))
        for place, index in enumerate(indices):
            row, column = divmod(place, COLUMNS)
            corner = (GAP + column * (IMAGE + GAP), top + HEADING + row * (IMAGE + CAPTION))
            draw_digit(picture, canvas, corner, results, digits, int(index))
    models = ", ".join(results.answers())
    key = f"Below each digit: {models} (of five). Wrong answers are red; the corner then shows the digit it is."
    canvas.text((GAP, 2 * block + 10), key, MUTED, ImageFont.load_default(16))
    return picture


def draw_digit(
    picture: Image.Image, canvas: Any, corner: tuple[int, int], results: Results, digits: Digits, index: int
) -> None:
    """One digit at a corner, the answers below it, and, where one is wrong, what it is."""
    left, top = corner
    grey = (255 - digits.raw[index].astype(np.uint16) * 255 // SHADES).astype(np.uint8)
    # Smoothed, as eyes read eight by eight pixels better that way.
    picture.paste(Image.fromarray(grey).resize((IMAGE, IMAGE), Image.Resampling.BICUBIC), corner)
    right = [int(answers[index]) == int(digits.labels[index]) for answers in results.answers().values()]
    frame = INK if all(right) else WRONG
    canvas.rectangle((left - 1, top - 1, left + IMAGE, top + IMAGE), outline=frame, width=1 if all(right) else 3)
    if not all(right):
        canvas.rectangle((left + IMAGE - 20, top, left + IMAGE, top + 22), fill=INK)
        canvas.text((left + IMAGE - 10, top + 11), str(digits.labels[index]), WHITE, ImageFont.load_default(16), "mm")
    step = IMAGE / len(right)
    font = ImageFont.load_default(17)
    for place, (answers, correct) in enumerate(zip(results.answers().values(), right, strict=True)):
        centre = (left + (place + 0.5) * step, top + IMAGE + 16)
        if not correct:
            x, y = centre
            canvas.rounded_rectangle((x - 10, y - 11, x + 10, y + 11), 4, fill=WRONG)
        canvas.text(centre, str(int(answers[index])), INK if correct else WHITE, font, anchor="mm")
