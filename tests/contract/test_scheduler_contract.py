"""What every workload manager in the table is held to. A new one needs its voice: what it prints (`helpers.voices`)."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from helpers.voices import COUNTS, LIVE, SAMPLES, UUID, VOICES, names, said, sample, spec, voice_of
from project.core import schedulers, script, states
from project.core.errors import ClusterError, UserError
from project.core.paths import JobPaths
from project.core.resources import KEYS, Array, Resources
from project.core.schedulers import base
from project.core.units import parse_duration, parse_memory

HOSTILE = ["a'; touch marker #", "$(touch marker)", "`touch marker`", "é 日本", "-n", '"; touch marker; "', "a\\", "%j"]
TEXTS = ("queue", "account", "qos", "reservation", "constraint", "gpu_type", "licenses")
GREETING = "Welcome to the cluster!\nLast login: today\n\n"
every = pytest.mark.parametrize("name", names())


def test_every_manager_in_the_table_has_a_voice():
    assert sorted(path.stem for path in VOICES.glob("*.py")) == names()


def test_there_is_a_sample_of_every_need():
    assert list(SAMPLES) == list(Resources._fields)


def test_an_unknown_manager_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="'slrum'") as caught:
        schedulers.get("slrum")
    assert "slurm" in caught.value.hint


@every
def test_its_variables_and_name(name):
    manager = schedulers.get(name)
    assert manager.name == name
    assert manager.program
    assert manager.expresses <= set(Resources._fields)
    for variable in (manager.array_index_variable, manager.restart_variable or "COUNTED", manager.job_id_variable):
        assert re.fullmatch("[A-Z][A-Z0-9_]*", variable)


# What is said at a submission


@every
def test_what_it_expresses_is_said_and_what_not_is_refused_by_name(name):
    manager, voice = schedulers.get(name), voice_of(name)
    for field in Resources._fields:
        without, resources = sample(voice, field)
        job = spec(resources)
        refused = {problem.key for problem in base.refusals(manager, job)}
        key = "resources." + KEYS.get(field, field)
        if field in manager.expresses:
            assert key not in refused, field
            assert said(manager, job) != said(manager, spec(without)), field
        else:
            assert key in refused, field
            [problem] = [one for one in base.refusals(manager, job) if one.key == key]
            assert name in problem.message
            assert problem.hint


@every
def test_a_job_that_asks_nothing_is_never_refused(name):
    assert base.refusals(schedulers.get(name), spec()) == []


@every
def test_every_form_of_an_array_is_said_or_refused(name):
    manager = schedulers.get(name)
    if "array" not in manager.expresses:
        assert manager.array_limit() == []
        return
    plain = said(manager, spec(Resources(array=Array("1-8"))))
    throttled = spec(Resources(array=Array("1-8", 2)))
    assert bool(base.refusals(manager, throttled)) is not manager.throttles
    if manager.throttles:
        assert said(manager, throttled) != plain
    spans = [
        "1-8",
        "2-9",
        *(["1,5-8", "1-3,5-8"] if manager.array_lists else []),
        *(["1-9:2"] if manager.array_steps else []),
    ]
    assert len({said(manager, spec(Resources(array=Array(span)))) for span in spans}) == len(spans)


@every
@pytest.mark.parametrize("asked", ["1K", "1025K", "2625M", "4G", "1T"])
def test_memory_is_right_at_the_edges(name, asked):
    """Never less than asked, never more than a unit more."""
    manager, voice, size = schedulers.get(name), voice_of(name), parse_memory(asked)
    for field in ("memory_per_cpu", "memory_per_node"):
        if field in manager.expresses:
            resources = Resources(ranks=1, threads_per_rank=1)._replace(**{field: size})
            resources = Resources(**{one: getattr(resources, one) for one in manager.expresses})
            read = voice.reads(said(manager, spec(resources)))[field]
            assert size <= read <= size + 2**20, field


@every
@pytest.mark.parametrize("asked", ["1s", "59s", "61s", "1h", "24h", "1d1s", "366d"])
def test_times_are_right_at_the_edges(name, asked):
    manager, voice, seconds = schedulers.get(name), voice_of(name), parse_duration(asked)
    if "seconds" in manager.expresses:
        read = voice.reads(said(manager, spec(Resources(seconds=seconds))))["seconds"]
        assert seconds <= read < seconds + 60


def simple(manager: base.Scheduler, **more: Any) -> Resources:
    """A common job, as far as the manager can say it."""
    common = {"array": Array("0-1"), "seconds": 60, **more}
    return Resources(**{key: value for key, value in common.items() if key in manager.expresses})


@every
@pytest.mark.parametrize("odd", HOSTILE)
def test_hostile_values_stay_text(name, odd, tmp_path):
    """The script is run whole: nothing in it may do what a value says."""
    manager = schedulers.get(name)
    paths = JobPaths(str(tmp_path / "jobs" / odd.replace("/", "_")), UUID)
    for folder in (paths.work, paths.log, paths.facts):
        os.makedirs(folder)
    job = spec(simple(manager), name=odd.replace("\\", ""), env={"ODD": odd})
    job = job._replace(execution=['printf %s "$ODD"'], name=odd)
    text = script.render(job, {"partition": odd}, manager, paths, UUID)
    path = tmp_path / "script"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(["sh", str(path)], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, check=False, timeout=30)
    assert done.returncode == 0
    assert Path(paths.stdout(1)).read_text(encoding="utf-8") == odd
    assert not list(tmp_path.rglob("marker"))


@every
@pytest.mark.parametrize("odd", [*HOSTILE, "a\nb", "a\n#SBATCH --wrap=x\n", "\x1f", "a\tb"])
def test_hostile_needs_are_one_line_or_refused(name, odd):
    manager, voice = schedulers.get(name), voice_of(name)
    for field in sorted(manager.expresses.intersection(TEXTS)):
        without, _ = sample(voice, field)
        value = [odd] if field == "licenses" else odd
        job = spec(without._replace(**{field: value}))
        try:
            lines = manager.directives(job, voice.cluster, JobPaths("/w", UUID), UUID)
        except UserError:
            continue
        assert all(line.startswith("#") and "\n" not in line for line in lines), field
        assert all("\0" not in word for word in manager.submit("/w/scripts/job", job, {}))


@every
def test_directives_are_comments_of_one_line(name):
    manager = schedulers.get(name)
    job = spec(simple(manager, array=Array("1-4"), ranks=2, memory_per_cpu=2**30))
    lines = manager.directives(job, {**voice_of(name).cluster, "partition": "p"}, JobPaths("/w", UUID), UUID)
    assert all(line.startswith("#") and "\n" not in line for line in lines)
    assert UUID in said(manager, job)
    assert "array" not in manager.expresses or "1-4" in said(manager, job)


@every
def test_the_clusters_partition_and_the_users_queue(name):
    manager = schedulers.get(name)
    if "queue" in manager.expresses:
        assert "wide" in said(manager, spec(), partition="wide")
        text = said(manager, spec(Resources(queue="long")), partition="wide")
        assert "long" in text
        assert "wide" not in text


@every
def test_options_of_nobody_are_refused(name):
    manager = schedulers.get(name)
    for text in ("--nonsense\n-x", "", "touch x"):
        assert base.refusals(manager, spec()._replace(scheduler_options=[text])), text


@every
def test_a_submission(name):
    manager, voice = schedulers.get(name), voice_of(name)
    argv = manager.submit("/w/it's/scripts/job", spec(), {})
    assert any("/w/it's/scripts/job" in word for word in argv)
    assert manager.submitted(0, voice.accepted, "") == voice.native_id
    assert not re.search(r"[,\s]", voice.native_id)
    with pytest.raises(ClusterError) as caught:
        manager.submitted(*voice.rejected)
    assert caught.value.condition == "submission_rejected"
    assert not caught.value.transient
    assert (voice.words or voice.rejected[2].rpartition("failed: ")[2]) in caught.value.message
    for answer in (voice.away, (0, "", ""), (-9, "", ""), (0, GREETING, "")):
        with pytest.raises(ClusterError) as caught:
            manager.submitted(*answer)
        assert caught.value.transient


# What it answers


def short(elements: list[base.Element]) -> list[Any]:
    return [(one.native_id, one.index, one.span, one.word, one.state, one.condition) for one in elements]


@every
def test_every_state_is_understood(name):
    manager, voice = schedulers.get(name), voice_of(name)
    queue = manager.parse_queue(voice.queue)
    assert {one.state for one in queue} >= voice.live
    assert voice.live <= LIVE | {base.DONE}
    history = [one for text in voice.history for one in manager.parse_history(text)]
    assert bool(history) is manager.keeps_history
    assert {one.condition for one in history if one.state == base.DONE} >= (
        voice.ends if manager.keeps_history else set()
    )
    for one in queue + history:
        assert one.native_id
        assert not re.search(r"[,\s]", one.native_id)
        assert (one.state == base.DONE) == bool(one.condition)
        assert not one.condition or one.condition in states.CONDITIONS
        assert one.fields["State"] == one.word
        assert one.fields["JobID"]
        assert one.index is None or not one.span
        assert not one.span or list(base.span_indices(one.span))
    if "exit_code" in voice.ends and manager.keeps_history:
        assert 3 in {one.exit_code for one in history if one.condition == "exit_code"}
    assert all(one.exit_code == 0 for one in history if one.condition == "ok")


@every
def test_a_voice_leaves_out_only_what_its_manager_cannot_tell(name):
    manager, voice = schedulers.get(name), voice_of(name)
    assert {base.WAITING, base.RUNNING} <= voice.live
    assert voice.ends <= set(states.CONDITIONS)
    assert not manager.keeps_history or {"ok", "exit_code"} <= voice.ends
    assert {condition for _, condition in manager.states.values() if condition} <= set(states.CONDITIONS)
    assert voice.counts <= COUNTS


@every
def test_its_table_of_states(name):
    manager, voice = schedulers.get(name), voice_of(name)
    assert manager.states
    for word, (state, condition) in manager.states.items():
        text = voice.row(word)
        found = manager.parse_queue(text) or manager.parse_history(text)
        assert [(one.word, one.state, one.condition) for one in found] == [(word, state, condition)]
        assert (state == base.DONE) == bool(condition)


@every
def test_a_word_that_nobody_knows_is_unknown(name):
    elements = schedulers.get(name).parse_queue(voice_of(name).unknown)
    assert [(one.state, one.condition, one.word) for one in elements] == [(base.UNKNOWN, "", "ODD")]


def parsers(manager: base.Scheduler) -> list[Any]:
    found = [manager.parse_queue, manager.parse_find]
    return [*found, manager.parse_history] if manager.keeps_history else found


@every
def test_no_answer_is_not_an_empty_answer(name):
    manager, voice = schedulers.get(name), voice_of(name)
    assert manager.parse_queue(voice.empty[0]) == []
    assert not manager.keeps_history or manager.parse_history(voice.empty[1]) == []
    assert manager.parse_find(voice.empty[2]) == []
    rc, out, err = voice.away
    for parse in parsers(manager):
        with pytest.raises(ClusterError) as caught:
            parse(out, rc, err)
        assert caught.value.transient


@every
def test_a_greeting_and_line_ends_of_windows_change_nothing(name):
    manager, voice = schedulers.get(name), voice_of(name)
    expected = short(manager.parse_queue(voice.queue))
    if voice.noisy:
        assert manager.submitted(0, GREETING + voice.accepted, "a warning") == voice.native_id
        assert manager.submitted(0, voice.accepted.replace("\n", "\r\n"), "") == voice.native_id
        assert short(manager.parse_queue(GREETING + voice.queue)) == expected
        assert short(manager.parse_queue(voice.queue.replace("\n", "\r\n"))) == expected
        assert manager.parse_find(GREETING + voice.found, name=voice.found_name) == list(voice.found_ids)


@every
def test_what_is_cut_off_or_garbage_says_nothing_new(name):
    """A part of the answer tells of no job that the whole one does not tell of, or counts as no answer."""
    manager, voice = schedulers.get(name), voice_of(name)
    whole = {one.native_id for one in manager.parse_queue(voice.queue)}
    texts = [voice.queue[: len(voice.queue) * part // 17] for part in range(17)]
    for text in [*texts, "\x00\xff\x1b[0m garbage\n" * 9, "{" * 999, "[]", "null", "<a>", "-1\n", "9" * 5000]:
        for parse in parsers(manager):
            try:
                found = parse(text)
            except ClusterError as error:
                assert error.transient, text
                continue
            if parse == manager.parse_queue and text in texts:
                assert all(any(known.startswith(one.native_id) for known in whole) for one in found)


@every
def test_a_job_is_found_by_its_name(name):
    manager, voice = schedulers.get(name), voice_of(name)
    wanted = script.job_name(UUID, "x")
    if not voice.found_name:
        assert all(any(wanted in word for word in argv) for argv in manager.find(wanted, base.since(0)))
    else:
        assert manager.parse_find(voice.found, name=wanted) == []
    assert manager.find(wanted, base.since(0))
    assert manager.parse_find(voice.found, name=voice.found_name) == list(voice.found_ids)


@every
def test_cancel_hold_and_release(name):
    manager, voice = schedulers.get(name), voice_of(name)
    array = voice.array_id or voice.native_id
    acts = [manager.cancel] + ([manager.hold, manager.release] if base.HELD in voice.live else [])
    for act in acts:
        assert any(voice.native_id in word for word in act(voice.native_id))
        if "array" in manager.expresses:
            assert any((voice.element or array + "_4") in word for word in act(array + "_4"))
    assert manager.acted(*voice.done) is True
    assert manager.acted(*voice.gone) is False
    with pytest.raises(ClusterError) as caught:
        manager.acted(*voice.away)
    assert caught.value.transient


@every
def test_the_load(name):
    manager, voice = schedulers.get(name), voice_of(name)
    assert manager.facts()
    status = manager.parse_facts(voice.facts)
    assert all(isinstance(status[key], int) for key in voice.counts)
    assert "memory" not in voice.counts or status["memory"] >= status["idle_memory"] > 2**20
    json.dumps(status)
    assert manager.parse_facts([]) == {}
    assert isinstance(manager.parse_facts(["garbage\n" for _ in manager.facts()]), dict)


@every
def test_commands_are_argument_vectors(name):
    manager = schedulers.get(name)
    program = ["python3", "agent.pyz", "local"]
    vectors = [manager.queue("a b"), *manager.facts(), *manager.find("n", "now")]
    if manager.keeps_history:
        vectors.append(manager.history(["1", "2_3"], base.since(9e6)))
    for argv in vectors:
        expanded = base.expand(argv, program)
        assert expanded[0] != base.LOCAL
        assert all(isinstance(word, str) and "\0" not in word for word in expanded)
