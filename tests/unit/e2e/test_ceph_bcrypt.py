"""The stand-in for bcrypt in the built Ceph image makes and checks the hashes that bcrypt does."""

import importlib.util
from types import ModuleType

import pytest

from e2e import image_recipe


@pytest.fixture(scope="module")
def bcrypt() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ceph_bcrypt", image_recipe.RECIPES_DIRECTORY / "ceph" / "bcrypt.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_known_hash(bcrypt: ModuleType) -> None:
    assert (
        bcrypt.hashpw(b"", b"$2a$06$DCq7YPn5Rq63x1Lad4cll.")
        == b"$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."
    )


def test_every_salt_is_another_and_only_the_password_fits_its_hash(bcrypt: ModuleType) -> None:
    salts = [bcrypt.gensalt(4), bcrypt.gensalt(4)]
    assert salts[0] != salts[1]
    assert all(salt.startswith(b"$2b$04$") for salt in salts)
    hashed = bcrypt.hashpw(b"correct", salts[0])
    assert bcrypt.checkpw(b"correct", hashed)
    assert not bcrypt.checkpw(b"wrong", hashed)


def test_a_salt_that_is_none_is_an_error(bcrypt: ModuleType) -> None:
    with pytest.raises(ValueError, match="Invalid salt"):
        bcrypt.hashpw(b"password", b"salt")
