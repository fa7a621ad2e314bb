"""The image and its compose file, read as a reviewer would: no rights, no secrets, nothing published."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def steps() -> list[tuple[str, str]]:
    """Instruction and argument of each line of the Dockerfile, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def service() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["mallard"])


def test_the_image_runs_as_nobody_and_holds_what_is_locked() -> None:
    found = steps()
    last = max(number for number, (word, _) in enumerate(found) if word == "FROM")
    users = [argument for word, argument in found[last:] if word == "USER"]
    assert users
    assert all(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) for user in users)
    assert any("--require-hashes -r requirements.lock" in argument for word, argument in found if word == "RUN")
    for source in [argument.split()[0] for word, argument in found if word == "COPY" and "--from" not in argument]:
        assert (ROOT / source).exists(), source


def test_the_image_has_no_secret_and_fetches_nothing_by_itself() -> None:
    for word, argument in steps():
        assert word != "ADD"
        assert not re.search(r"(?i)(secret|password|token)\s*=", argument), argument
        assert "curl" not in argument
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".env", ".venv"} <= set(ignored)


def test_the_command_of_the_image_is_one_of_ours() -> None:
    assert dict(steps())["ENTRYPOINT"] == '["mallard"]'
    assert '"serve", "--public"' in dict(steps())["CMD"]


def test_compose_gives_the_container_no_rights_and_publishes_nothing() -> None:
    found = service()
    assert found["user"] == "10001:10001"
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in found
    assert not {"privileged", "network_mode", "pid"} & found.keys()
    assert not [volume for volume in found["volumes"] if volume.startswith(("/", "."))]


def test_compose_asks_for_what_public_needs_and_has_none_of_it() -> None:
    environment = service()["environment"]
    assert {"MALLARD_HOSTS", "MALLARD_PROXIES", "MALLARD_LINK_SECRET"} <= environment.keys()
    for name, value in environment.items():
        assert name == "MALLARD_SECURE" or re.fullmatch(r"\$\{" + name + r":\?[^}]+\}", value), name
