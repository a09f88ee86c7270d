"""The life of a job is the contract's, and leads to an end."""

import pytest

from ims_gateway.jobs.states import OPEN, TERMINAL, TRANSITIONS, State
from imsgateway.v1 import job_pb2


def test_the_states_are_those_of_the_contract():
    """Name by name and number by number; only "not valid" is left out."""
    contract = dict(job_pb2.Job.State.items())
    del contract["STATE_UNSPECIFIED"]

    assert {f"STATE_{state.name}": int(state) for state in State} == contract


def test_the_table_knows_every_state():
    """A state without a row would break the first job that gets there."""
    assert set(TRANSITIONS) == set(State)


def test_terminal_states_are_left_by_nothing():
    """They are the four ends that the contract names."""
    assert {State.SUCCEEDED, State.FAILED, State.CANCELLED, State.REJECTED} == TERMINAL


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_every_state_is_reached_and_leads_to_an_end(state):
    """No job is stuck by the table."""
    reached, more = {State.SUBMITTING}, {State.SUBMITTING}
    while more := {each for known in more for each in TRANSITIONS[known]} - reached:
        reached |= more
    ends, more = {state}, {state}
    while more := {each for known in more for each in TRANSITIONS[known]} - ends:
        ends |= more

    assert state in reached
    assert ends & TERMINAL


def test_only_what_the_service_took_is_polled():
    """Open jobs are neither waiting for an answer to their submit nor at an end."""
    assert set(OPEN) == set(State) - TERMINAL - {State.SUBMITTING, State.SUBMIT_UNKNOWN}


def test_a_job_that_was_sent_is_never_rejected_after_it_was_taken():
    """Its quota cannot come back once the service has it."""
    assert {state for state in State if State.REJECTED in TRANSITIONS[state]} == {
        State.SUBMITTING,
        State.SUBMIT_UNKNOWN,
    }
