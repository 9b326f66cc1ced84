"""Squares: corner and centre, frame and crop, and the way into tables and back."""

import numpy as np
import pandas as pd
import pytest

from reenact.faces.square import Square, box_square, square_columns, square_of, squares_of


def test_a_square_is_given_by_its_corner_or_its_centre():
    square = Square.from_corner(10, 20, 40, 30)
    assert square == Square(centre_x=30, centre_y=40, side=40, angle=30)
    assert (square.left, square.top) == (10, 20)
    with pytest.raises(TypeError):
        Square(10, 20, 40)  # which of the two would that be?


@pytest.mark.parametrize("angle", [0.0, 30.0, -110.0])
def test_frame_and_crop_are_inverse(angle):
    square = Square.from_corner(60.3, 51.8, 96.0, angle)
    points = np.random.default_rng(0).uniform(0, 64, (20, 2))
    np.testing.assert_allclose(square.to_crop(square.to_frame(points, 64), 64), points)
    np.testing.assert_allclose(square.to_frame(np.array([32, 32]), 64), [square.centre_x, square.centre_y])


def test_corners_turn_clockwise():
    np.testing.assert_allclose(Square.from_corner(0, 0, 2).corners(), [(0, 0), (2, 0), (0, 2), (2, 2)])
    np.testing.assert_allclose(Square.from_corner(0, 0, 2, 90).corners(), [(2, 0), (2, 2), (0, 0), (0, 2)], atol=1e-9)


def test_a_reduced_frame_shows_the_same_square():
    square = Square.from_corner(20, 30, 50, 10)
    half = square.scaled(0.5, 0.5)
    np.testing.assert_allclose(half.corners(), square.corners() / 2)
    assert half.angle == 10


def test_around_a_box():
    assert box_square(np.array([10, 20, 50, 80.0]), 1.5) == Square(centre_x=30, centre_y=50, side=90)
    # The published code goes out to whole pixels, and counts its right column in.
    assert Square(centre_x=10.2, centre_y=10.2, side=4.5).whole_pixels() == Square.from_corner(7, 7, 7)


def test_tables_hold_the_corner():
    squares = [Square.from_corner(1.25, 2.5, 4.0, 5.0), Square.from_corner(-3.0, 0.1, 10.0)]
    table = pd.DataFrame(square_columns(squares), columns=["x", "y", "side", "angle"])
    assert table.iloc[0].tolist() == [1.25, 2.5, 4.0, 5.0]
    assert squares_of(table) == squares
    assert square_of(table[["x", "y", "side"]].iloc[1]) == squares[1]
