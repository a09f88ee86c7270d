"""A token file is read for every call, as whoever renews it does so in place."""

import pytest

from ims_gateway_client import token_file


def test_a_renewed_token_is_the_one_that_is_sent(tmp_path):
    """The end of the line is not part of it."""
    file = tmp_path / "token"
    token = token_file(file)
    for content in ("one", "two\n"):
        file.write_text(content, "utf-8")
        assert token() == content.strip()


def test_a_file_without_a_token_is_an_error_that_does_not_show_it(tmp_path):
    """Half a secret in a traceback is one too many."""
    file = tmp_path / "token"
    file.write_text("two words", "utf-8")
    with pytest.raises(ValueError, match="the token in") as raised:
        token_file(file)()
    assert "words" not in str(raised.value)
    with pytest.raises(OSError, match="nowhere"):
        token_file(tmp_path / "nowhere")()
