"""bench/instructions.py, with a stand-in for valgrind: the real one takes a minute."""

from __future__ import annotations

import json

import instructions
import pytest

# Prints what callgrind does after a million instructions to start, and a thousand a step.
STAND_IN = """#!/bin/sh
for last; do :; done
echo "==1== Collected : $((1000000 + 1000 * last))" >&2
"""


@pytest.fixture
def valgrind(tmp_path, monkeypatch):
    stand_in = tmp_path / "valgrind"
    stand_in.write_text(STAND_IN, encoding="utf-8")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(instructions, "RECORD", tmp_path / "record.json")
    return stand_in


def test_the_interpreters_start_cancels(valgrind):
    assert instructions.a_step("adam") == 1000


def test_counts_are_recorded_and_compared(valgrind, capsys):
    assert instructions.main(["--rules", "adam", "--record"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["adam", "1,000"]
    record = json.loads(instructions.RECORD.read_text(encoding="utf-8"))
    assert record["instructions a step"] == {"adam": 1000}
    assert record["versions"] == instructions.versions()
    assert instructions.main(["--rules", "adam"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["adam", "1,000", "1,000", "+0.0%"]

    lines = instructions.report({"adam": 1100, "sgd": 5}, record).splitlines()
    assert lines[1].split() == ["adam", "1,100", "1,000", "+10.0%"]
    assert lines[2].split() == ["sgd", "5"]
    assert len(lines) == 3

    record["versions"]["numpy"] = "1.0"
    assert (
        instructions.report({"adam": 1000}, record).splitlines()[-1].startswith("Not comparable: numpy 1.0 on record")
    )


def test_a_failing_valgrind_is_reported(valgrind, capsys):
    valgrind.write_text("#!/bin/sh\necho no such tool >&2\nexit 3\n", encoding="utf-8")
    assert instructions.main([]) == 1
    assert "valgrind ended with status 3:\nno such tool" in capsys.readouterr().err


def test_without_valgrind_the_error_says_how_to_get_it(capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert instructions.main([]) == 1
    assert "run: apt-get install valgrind" in capsys.readouterr().err


def test_the_committed_record_is_of_the_rules_counted_by_default():
    record = json.loads(instructions.RECORD.read_text(encoding="utf-8"))
    assert record["workload"] == instructions.WORKLOAD
    assert set(record["instructions a step"]) == set(instructions.RULES)
    assert set(record["versions"]) == set(instructions.versions())
    assert all(count > 1000 for count in record["instructions a step"].values())
