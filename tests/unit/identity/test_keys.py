"""API keys: their look, and what is kept of them."""

import hmac
import re

import yaml

from ims_gateway.identity.keys import SHAPE, key_hash, new_key

PEPPER = b"a pepper"


def test_a_new_key_has_the_shape_that_is_accepted_and_holds_its_id():
    """What is made can be used."""
    key_id, key = new_key()

    assert SHAPE.fullmatch(key)
    assert key.split("_", 2)[1] == key_id


def test_no_two_keys_are_alike():
    """Neither the secret nor the id comes again."""
    made = [new_key() for _ in range(200)]

    assert len({key for _, key in made}) == 200
    assert len({key.split("_", 2)[2] for _, key in made}) == 200


def test_an_id_is_text_in_a_tenant_s_file():
    """YAML takes eight digits without quotes for a number, and refuses the file for it."""
    for _ in range(500):
        key_id, _ = new_key()
        assert yaml.safe_load(f"id: {key_id}") == {"id": key_id}


def test_what_is_kept_is_a_keyed_hash_of_the_whole_key():
    """HMAC-SHA256 under the pepper, in hex."""
    _, key = new_key()
    kept = key_hash(key, PEPPER)

    assert kept == hmac.new(PEPPER, key.encode(), "sha256").hexdigest()
    assert re.fullmatch(r"[0-9a-f]{64}", kept)


def test_the_hash_depends_on_pepper_id_and_secret():
    """Another pepper makes stolen hashes useless; another id makes another key."""
    _, key = new_key()
    prefix, key_id, secret = key.split("_", 2)
    others = (f"{prefix}_00000000_{secret}", f"{prefix}_{key_id}_{'A' * 43}")

    assert len({key_hash(each, PEPPER) for each in (key, *others)} | {key_hash(key, b"x")}) == 4
