import numpy as np
import pytest
from PIL import Image

from fewshot.page.drawing import Drawing, Easel, Mark, Point, Tool, tint_mask

SIZE = (40, 30)


def rasterise(*marks: Mark, ground: Image.Image | None = None) -> np.ndarray:
    mask = np.asarray(Drawing(SIZE, marks, ground).rasterise())
    assert mask.shape == SIZE[::-1]
    assert set(np.unique(mask)) <= {0, 255}
    return mask == 255


def disc(x: float, y: float, radius: float) -> np.ndarray:
    """Pixels whose centres lie within a circle."""
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def test_a_new_drawing_is_empty() -> None:
    assert not rasterise().any()


@pytest.mark.parametrize(
    "corners", [((5.0, 4.0), (12.0, 20.0)), ((12.0, 20.0), (5.0, 4.0)), ((5.0, 20.0), (12.0, 4.0))], ids=str
)
def test_a_box_is_filled_whichever_corner_comes_first(corners: tuple[Point, Point]) -> None:
    expected = np.zeros(SIZE[::-1], dtype=bool)
    expected[4:20, 5:12] = True
    np.testing.assert_array_equal(rasterise(Mark("box", corners)), expected)


def test_a_box_fills_every_pixel_that_it_reaches_into() -> None:
    mask = rasterise(Mark("box", ((5.5, 4.2), (11.1, 19.9))))
    assert mask.sum() == 7 * 16
    assert mask[4:20, 5:12].all()


def test_a_box_may_cover_the_whole_photograph() -> None:
    assert rasterise(Mark("box", ((0.0, 0.0), (40.0, 30.0)))).all()


def test_a_dot_of_the_brush_is_a_disc() -> None:
    mask = rasterise(Mark("brush", ((20.5, 15.5),), width=11.0))
    assert mask[disc(20.5, 15.5, 5.0)].all()
    assert not mask[~disc(20.5, 15.5, 6.5)].any()


def test_a_stroke_is_as_wide_as_the_brush_and_round_at_its_ends() -> None:
    mask = rasterise(Mark("brush", ((10.5, 15.5), (20.5, 15.5), (30.5, 15.5)), width=7.0))
    assert (mask[:, 12:29].sum(0) == 7).all()
    assert mask[15, 7:34].all()
    assert not mask[12, 7]
    assert not mask[18, 33]


def test_a_stroke_has_no_gaps_at_its_corners() -> None:
    mask = rasterise(Mark("brush", ((8.5, 22.5), (20.5, 8.5), (32.5, 22.5)), width=9.0))
    assert mask[disc(20.5, 8.5, 3.5)].all()


def test_later_marks_lie_over_earlier_ones() -> None:
    box, rubbed = Mark("box", ((5.0, 5.0), (35.0, 25.0))), Mark("eraser", ((0.5, 15.5), (39.5, 15.5)), width=5.0)
    assert not rasterise(box, rubbed)[13:18].any()
    assert rasterise(box, rubbed)[8].any()
    np.testing.assert_array_equal(rasterise(rubbed, box), rasterise(box))


def test_erasing_takes_away_from_the_mask_that_was_there_before() -> None:
    ground = Image.new("L", SIZE, 255)
    mask = rasterise(Mark("eraser", ((20.5, 15.5),), width=11.0), ground=ground)
    assert not mask[disc(20.5, 15.5, 5.0)].any()
    assert mask.sum() > mask.size / 2
    assert np.asarray(ground).all(), "what was given stays as it was"


def test_a_drawing_is_taken_back_mark_by_mark_and_cleared_at_once() -> None:
    ground = Image.new("L", SIZE, 255)
    first, second = Mark("eraser", ((5.0, 5.0),), width=4.0), Mark("eraser", ((30.0, 20.0),), width=4.0)
    drawing = Drawing(SIZE, ground=ground).add(first).add(second)
    assert drawing.undo().marks == (first,)
    assert drawing.undo().undo().undo() == Drawing(SIZE, ground=ground)
    assert drawing.clear() == Drawing(SIZE)


def test_a_click_that_slipped_is_no_box_but_a_dot_of_the_brush() -> None:
    slip = ((10.0, 10.0), (10.3, 18.0))
    assert Drawing(SIZE).add(Mark("box", slip)).marks == ()
    assert len(Drawing(SIZE).add(Mark("brush", slip)).marks) == 1


def draw(easel: Easel, tool: Tool, *points: tuple[float, float], width: float = 3.0) -> bool:
    easel.press(tool, points[0], width=width)
    for point in points[1:]:
        easel.move(point)
    return easel.release()


def test_a_gesture_becomes_a_mark_when_the_button_is_released() -> None:
    easel = Easel(Drawing(SIZE))
    easel.press("brush", (3.0, 4.0), width=5.0)
    easel.move((6.0, 7.0))
    assert easel.gesture == Mark("brush", ((3.0, 4.0), (6.0, 7.0)), 5.0)
    assert easel.drawing.marks == ()
    assert easel.release()
    assert easel.drawing.marks == (Mark("brush", ((3.0, 4.0), (6.0, 7.0)), 5.0),)
    assert easel.gesture is None


def test_a_box_is_the_first_corner_and_the_last() -> None:
    easel = Easel(Drawing(SIZE))
    assert draw(easel, "box", (3.0, 4.0), (30.0, 28.0), (20.0, 15.0))
    assert easel.drawing.marks[0].points == ((3.0, 4.0), (20.0, 15.0))


def test_gestures_that_leave_the_photograph_end_at_its_border() -> None:
    easel = Easel(Drawing(SIZE))
    assert draw(easel, "box", (30.0, 20.0), (55.0, -4.0))
    assert easel.drawing.marks[0].points == ((30.0, 20.0), (40.0, 0.0))
    assert np.asarray(easel.drawing.rasterise())[:20, 30:].all()


def test_a_slip_changes_nothing_and_neither_does_moving_without_a_button() -> None:
    easel = Easel(Drawing(SIZE))
    assert not draw(easel, "box", (3.0, 4.0), (3.1, 4.1))
    easel.move((20.0, 20.0))
    assert not easel.release()
    assert easel.drawing == Drawing(SIZE)


def test_a_stroke_is_at_least_a_pixel_wide() -> None:
    easel = Easel(Drawing(SIZE))
    draw(easel, "brush", (10.5, 10.5), (20.5, 10.5), width=0.1)
    assert np.asarray(easel.drawing.rasterise())[10, 10:21].all()


def test_the_object_is_tinted_and_everything_else_veiled() -> None:
    mask = Drawing(SIZE, (Mark("box", ((5.0, 5.0), (15.0, 15.0))),)).rasterise()
    tint = np.asarray(tint_mask(mask))
    inside, outside = tint[np.asarray(mask) == 255], tint[np.asarray(mask) == 0]
    assert len(np.unique(inside, axis=0)) == len(np.unique(outside, axis=0)) == 1
    assert inside[0, 0] > inside[0, 1:3].max()
    assert np.ptp(outside[0, :3]) == 0
    assert (tint[..., 3] < 255).all(), "the photograph shows through"


def test_a_photograph_without_a_mark_is_seen_as_it_is() -> None:
    assert not np.asarray(tint_mask(Drawing(SIZE).rasterise()))[..., 3].any()
