import copy
import pickle
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captum_ssvep.design.components import (
    Component,
    component_of,
    enumerate_components,
    integer_vectors,
    label,
)


def test_a_component_is_its_tuple_and_survives_copying():
    component = Component((0, -2, 1))
    assert component == (0, 2, -1)
    assert {component: 1}[(0, 2, -1)] == 1
    assert component.parts == (1, 2)
    assert pickle.loads(pickle.dumps(component)) == component
    assert type(copy.deepcopy(component)) is Component


@pytest.mark.parametrize(("n_parts", "order"), [(1, 5), (2, 4), (3, 3), (4, 2)])
def test_integer_vectors_are_those_of_brute_force(n_parts, order):
    span = range(-order, order + 1)
    expected = {v for v in product(span, repeat=n_parts) if sum(map(abs, v)) <= order}
    assert {tuple(v) for v in integer_vectors(n_parts, order).tolist()} == expected


@pytest.mark.parametrize(
    ("group", "expected"),
    [("fundamentals", 2), ("harmonics", 8), ("intermodulations", 12), ("all", 20)],
)
def test_groups_of_two_parts_to_order_four(group, expected):
    components = enumerate_components(group, 2, 4)
    assert len(components) == len(set(components)) == expected
    assert [c.order for c in components] == sorted(c.order for c in components)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=4).filter(any))
def test_a_component_equals_its_negative(entries):
    assert Component(entries) == Component([-n for n in entries])
    assert Component(entries).order == sum(map(abs, entries))


@pytest.mark.parametrize("component", enumerate_components("all", 3, max_order=4))
def test_labels_can_be_read_back(component):
    assert component_of(label(component), 3) == component


@pytest.mark.parametrize("text", ["", "1.5f1", "f0", "f4", "f1 f2", "f1 +", "x", "f1 - f1f2"])
def test_what_is_no_label_is_refused(text):
    with pytest.raises(ValueError, match=r"the label of a component of 3 part\(s\)"):
        component_of(text, 3)
