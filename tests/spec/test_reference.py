from project.core import schema
from project.spec import managers, reference


def test_the_reference_is_what_its_command_writes():
    shown = reference.TARGET.read_text(encoding="utf-8")
    assert shown == reference.render(), "write it again: python -m project.spec.reference"


def test_the_page_of_workload_managers_is_what_the_same_command_writes():
    shown = managers.TARGET.read_text(encoding="utf-8")
    assert shown == managers.render(), "write it again: python -m project.spec.reference"


def test_every_manager_and_dialect_has_its_column():
    head = next(line for line in managers.render().splitlines() if line.startswith("| key |"))
    assert [cell.strip() for cell in head.strip("|").split("|")][1:] == [
        "slurm", "local", "at", "pbs (pbspro)", "pbs (torque)", "lsf", "sge", "flux", "htcondor",
    ]  # fmt: skip


def test_every_key_is_in_it():
    text = reference.render()
    for name in ("input", "modules", "cluster"):
        for key in set(schema.load(name)["properties"]) - {"_id"}:
            assert f"`{key}`" in text, key
    for key in schema.load("input")["properties"]["resources"]["properties"]:
        assert f"`{key}`" in text, key


def test_the_value_of_a_key_is_said_plainly():
    rows = {line.split("|")[1].strip(): line for line in reference.render().splitlines() if line.startswith("| ")}
    assert "| `true` or `false` |" in rows["`exclusive`"]
    assert "| whole number |" in rows["`priority`"]
    assert "`#!/usr/bin/env python3\\nprint('hello')\\n`" in rows["`script`"]
    assert "| anything |" not in "".join(rows.values())


def test_every_line_of_a_table_has_its_cells():
    for line in reference.render().splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") in {3, 4}, line
