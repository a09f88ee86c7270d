"""The single-use guard."""

from ims_gateway.emulator.nonces import Nonces


def test_nonce_is_good_once():
    """A second use is noticed, another nonce or another key is not."""
    nonces = Nonces(900)
    assert nonces.spend("AK", "n", 0)
    assert not nonces.spend("AK", "n", 1)
    assert nonces.spend("AK", "m", 1)
    assert nonces.spend("BK", "n", 1)


def test_nonces_are_forgotten_when_no_date_could_still_be_good():
    """Memory is bounded by what can arrive in two windows."""
    nonces = Nonces(10)
    for second in range(1000):
        assert nonces.spend("AK", str(second), second)
    assert len(nonces) == 21
    assert not nonces.spend("AK", "999", 1000)


def test_cleared_nonces_are_new_again():
    """A reset forgets everything."""
    nonces = Nonces(10)
    nonces.spend("AK", "n", 0)
    nonces.clear()
    assert nonces.spend("AK", "n", 0)
