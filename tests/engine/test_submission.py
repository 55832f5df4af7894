"""Submissions to the built-in cluster, by the real agent and the real API, from the input to the retrieved output."""

import json
import sys

import pytest

from project.core.errors import ApiError, ClusterError, InputError, UserError
from project.core.process import quote
from project.engine import agentfile, control, link, logs, remembered, resuming, retrieval, submission

HELLO = """
destination_cluster: local
job: data
execution:
  - cat "$PWD/in here.txt" > result.txt
  - echo to stdout; echo to stderr >&2
output: [result.txt]
"""


def with_data(engine):
    (engine.folder / "data").mkdir()
    (engine.folder / "data" / "in here.txt").write_text("hello")
    return engine


def test_from_input_to_output(engine, tmp_path):
    document = with_data(engine).submit(HELLO, tags={"project": "demo"})
    uuid = document["job_uuid"]
    assert document["native_id"]
    assert document["cluster"] == "local"
    assert document["tags"] == {"project": "demo"}
    ended = engine.until(uuid)
    assert (ended["state"], ended["exit_code"]) == ("FINISHED", 0)
    found = retrieval.retrieve(engine.context, ended, tmp_path / "out")
    assert [item.how for item in found] == ["new"]
    assert (tmp_path / "out" / "result.txt").read_text() == "hello"
    assert retrieval.retrieve(engine.context, ended, tmp_path / "out")[0].how == "identical"
    assert b"".join(logs.read(engine.context, ended)) == b"to stdout\n"
    assert b"".join(logs.read(engine.context, ended, stream="stderr")) == b"to stderr\n"
    assert len(engine.context._links) == 1


def test_a_failing_job(engine, tmp_path):
    document = engine.submit(HELLO.replace("job: data", "job: input.yml").replace("- cat", "- false\n  - cat"))
    ended = engine.until(document["job_uuid"])
    assert (ended["state"], ended["condition"]) == ("FAILED", "exit_code")
    with pytest.raises(retrieval.Incomplete, match=r"result\.txt") as caught:
        retrieval.retrieve(engine.context, ended, tmp_path / "out")
    assert "input.yml" in caught.value.hint


def test_one_bad_pattern_does_not_block_the_rest(engine, tmp_path):
    text = HELLO.replace("[result.txt]", "[result.txt, 'no-such-*', 'in*']")
    document = with_data(engine).submit(text)
    ended = engine.until(document["job_uuid"])
    with pytest.raises(retrieval.Incomplete, match="no-such") as caught:
        retrieval.retrieve(engine.context, ended, tmp_path / "out")
    assert sorted(item.path for item in caught.value.retrieved) == ["in here.txt", "result.txt"]
    assert (tmp_path / "out" / "in here.txt").read_text() == "hello"


def test_another_machine_can_retrieve(engine, tmp_path):
    document = with_data(engine).submit(HELLO)
    ended = engine.until(document["job_uuid"])
    remembered.forget(engine.home, document["job_uuid"])
    assert retrieval.retrieve(engine.new_context(), ended, tmp_path / "out")[0].how == "new"


def test_a_requirement_that_fails(engine):
    request = engine.request(
        HELLO + "requirements: [echo because of this, 'false']\njob: input.yml\n".replace("job: input.yml\n", "")
    )
    with_data(engine)
    with pytest.raises(ClusterError, match="false") as caught:
        submission.submit(engine.context, request)
    assert caught.value.condition == "requirements_failed"
    (document,) = engine.api.jobs()
    assert (document["state"], document["condition"]) == ("FAILED", "requirements_failed")
    commands = [event["data"] for event in engine.api.events(document["job_uuid"]) if event["kind"] == "command"]
    assert [command["exit_status"] for command in commands] == [0, 1]
    assert "because of this" in commands[0]["output"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("destination_cluster: local", "destination_cluster: lokal"), "Did you mean 'local'"),
        (("job: data", "job: nothing"), "nothing cannot be read"),
        (("job: data", "job: data\nprivate_key: /no/key"), ""),
    ],
)
def test_bad_input_sends_and_records_nothing(engine, change, message):
    with_data(engine)
    if not message:
        # A key is not looked at where none is needed.
        assert engine.submit(HELLO.replace(*change))["native_id"]
        return
    with pytest.raises(UserError) as caught:
        engine.submit(HELLO.replace(*change))
    assert message in str(caught.value)
    assert engine.api.jobs() == []
    assert not (engine.home / "local").exists()


def test_an_api_that_is_down_stops_everything(engine):
    def call(*_args):
        raise ApiError("The API does not answer.", transient=True)

    with_data(engine)
    context = engine.new_context(api=type(engine.api)(call))
    with pytest.raises(ApiError):
        submission.submit(context, engine.request(HELLO))
    assert not (engine.home / "local" / "jobs").exists()


def test_an_api_that_fails_at_the_record_gets_nothing_sent(engine):
    real = engine.api._call

    def call(method, path, body=None, query=None):
        if method == "POST":
            raise ApiError("The disk of the server is full.", status=500)
        return real(method, path, body, query)

    with_data(engine)
    context = engine.new_context(api=type(engine.api)(call))
    with pytest.raises(ApiError, match="disk"):
        submission.submit(context, engine.request(HELLO))
    assert not (engine.home / "local" / "jobs").exists()


def test_no_secret_leaves(engine):
    text = HELLO + "passphrase: sesame-secret\nprivate_key: /nowhere/my-key\n"
    document = with_data(engine).submit(text)
    engine.until(document["job_uuid"])
    seen = json.dumps([document, engine.api.events(document["job_uuid"])])
    assert "sesame-secret" not in seen
    assert "my-key" not in seen
    for path in engine.home.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            assert b"sesame-secret" not in raw, path
            assert b"my-key" not in raw or path.parent.name == "remembered", path


def modules_of(engine, text, **programs):
    folder = engine.folder / "modules"
    folder.mkdir()
    for name, program in programs.items():
        (folder / f"{name}.py").write_text(program)
    (engine.folder / "modules.yml").write_text(text.replace("PYTHON", quote(sys.executable)))
    return engine.folder / "modules.yml"


ADD = "import json, sys\nd = json.load(sys.stdin)\nd.setdefault('kwargs', {})['K'] = 'V'\nprint(json.dumps(d))\n"


def test_modules_in_three_stages(engine, tmp_path):
    modules = modules_of(
        engine,
        "staging: {1: {module: one.py, execution: PYTHON one.py}}\n"
        "preprocessing: {1: {module: two.py, execution: PYTHON two.py}}\n"
        "postprocessing: {1: {module: three.py, execution: PYTHON three.py}}\n",
        one=ADD.replace("'K'", "'staged'"),
        two=ADD.replace("'K'", "'prepared'"),
        three=ADD.replace("'K'", "'posted'"),
    )
    document = with_data(engine).submit(HELLO, modules)
    ended = engine.until(document["job_uuid"])
    assert ended["state"] == "FINISHED"
    assert ended["user_input"]["kwargs"] == {"staged": "V", "prepared": "V", "posted": "V"}
    events = engine.api.events(document["job_uuid"])
    stages = [event["data"]["stage"] for event in events if event["kind"] == "module"]
    assert stages == ["staging", "preprocessing", "postprocessing"]


def test_a_staging_module_that_fails(engine):
    modules = modules_of(
        engine,
        "staging: {1: {module: one.py, execution: PYTHON one.py}}",
        one="import sys; sys.exit('no such luck')",
    )
    with_data(engine)
    with pytest.raises(UserError, match="no such luck"):
        engine.submit(HELLO, modules)
    (document,) = engine.api.jobs()
    assert (document["state"], document["condition"]) == ("FAILED", "input_staging_failed")
    assert not (engine.home / "local" / "jobs").exists()


def test_going_on_after_a_failed_staging_module(engine):
    class Confident(type(engine.ui)):
        interactive = True

        def confirm(self, question):
            return "staging module failed" in question

    modules = modules_of(engine, "staging: {1: {module: one.py, execution: 'false'}}", one="")
    with_data(engine)
    context = engine.new_context(ui=Confident())
    document = submission.submit(context, engine.request(HELLO, modules))
    context.close()
    assert engine.until(document["job_uuid"])["state"] == "FINISHED"
    assert "note" in engine.kinds(document["job_uuid"])


class Cut(Exception):
    """The test's own interruption."""


@pytest.mark.parametrize("after", [0, 1, 2], ids=["request", "one piece", "two pieces"])
def test_a_connection_that_breaks_is_resumed(engine, monkeypatch, after):
    """The stream ends before the job is taken: exit code 3, BLOCKED, and the resumed one is the same job, once."""
    (engine.folder / "data").mkdir()
    (engine.folder / "data" / "in here.txt").write_text("hello" * 200_000)
    real = link.protocol.write
    seen = []

    def write(stream, header, payload=b""):
        if header.get("op") == "submit" or seen:
            seen.append(header)
            if len(seen) > after + 1:
                stream.close()
                raise BrokenPipeError
        real(stream, header, payload)

    monkeypatch.setattr(link.protocol, "write", write)
    with pytest.raises(ClusterError) as caught:
        engine.submit(HELLO)
    assert caught.value.exit_code == 3
    assert "resubmit --resume" in caught.value.hint
    monkeypatch.undo()
    engine.context.close()
    (document,) = engine.api.jobs()
    uuid = document["job_uuid"]
    assert (document["state"], document["condition"]) == ("BLOCKED", "unreachable")
    for _ in range(2):
        resumed = resuming.resume(engine.context, uuid)
        assert resumed["job_uuid"] == uuid
    assert engine.until(uuid)["state"] == "FINISHED"
    natives = [event for event in engine.api.events(uuid) if (event.get("set") or {}).get("native_id")]
    assert len({event["set"]["native_id"] for event in natives}) == 1
    assert len(engine.api.jobs()) == 1
    assert (engine.home / "local" / "jobs" / uuid / "work" / "result.txt").stat().st_size == 1_000_000


def test_the_same_call_again_goes_on_with_what_was_cut_off(engine, monkeypatch):
    with_data(engine)
    real = link.protocol.write

    def write(stream, header, payload=b""):
        if header.get("op") == "submit":
            raise BrokenPipeError
        real(stream, header, payload)

    monkeypatch.setattr(link.protocol, "write", write)
    with pytest.raises(ClusterError):
        engine.submit(HELLO)
    monkeypatch.undo()
    engine.context.close()
    (cut_off,) = engine.api.jobs()
    other = engine.submit(HELLO, tags={"another": "call"})
    assert other["job_uuid"] != cut_off["job_uuid"]
    assert engine.submit(HELLO)["job_uuid"] == cut_off["job_uuid"]
    assert engine.until(cut_off["job_uuid"])["state"] == "FINISHED"
    assert engine.submit(HELLO)["job_uuid"] not in {cut_off["job_uuid"], other["job_uuid"]}
    assert len(engine.api.jobs()) == 3


def test_what_ended_for_good_is_begun_anew(engine):
    with_data(engine)
    failing = HELLO + "requirements: 'false'\n"
    for _ in range(2):
        with pytest.raises(ClusterError, match="requirements"):
            engine.submit(failing)
    assert [document["state"] for document in engine.api.jobs()] == ["FAILED", "FAILED"]


def test_a_connection_that_breaks_after_the_job_was_taken_is_no_failure(engine, monkeypatch):
    real = link.protocol.read

    def read(stream):
        header, payload = real(stream)
        if header.get("type") == "taken":
            monkeypatch.setattr(link.protocol, "read", broken)
        return header, payload

    def broken(stream):
        raise link.protocol.StreamEnded("cut by the test", True)

    monkeypatch.setattr(link.protocol, "read", read)
    document = with_data(engine).submit(HELLO)
    monkeypatch.undo()
    engine.context.close()
    assert engine.until(document["job_uuid"])["state"] == "FINISHED"
    assert any("goes on by itself" in line for line in engine.ui.warnings)


def test_a_wish_to_cancel_that_comes_while_the_job_is_on_its_way(engine, monkeypatch):
    real = submission.Submission.fields

    def fields(self, *args):
        engine.api.cancel(self.uuid)
        return real(self, *args)

    monkeypatch.setattr(submission.Submission, "fields", fields)
    document = with_data(engine).submit(HELLO.replace("- cat", "- exec sleep 300 #"))
    assert engine.until(document["job_uuid"])["state"] == "CANCELLED"


def test_cancel_hold_and_remove(engine):
    document = with_data(engine).submit(HELLO.replace("- cat", "- exec sleep 300 #"))
    uuid = document["job_uuid"]
    engine.until(uuid, "RUNNING")
    (refused,) = control.remove(engine.context, [engine.api.job(uuid)])
    assert not refused.changed
    assert "cancel it first" in refused.reason
    (done,) = control.cancel(engine.context, [engine.api.job(uuid)])
    assert done.changed
    assert engine.until(uuid)["state"] == "CANCELLED"
    (again,) = control.cancel(engine.context, [engine.api.job(uuid)])
    assert (again.changed, again.reason) == (False, "is already cancelled")
    (removed,) = control.remove(engine.context, [engine.api.job(uuid)])
    assert removed.changed
    assert engine.api.jobs() == []
    assert not (engine.home / "local" / "jobs" / uuid).exists()
    assert remembered.load(engine.home, uuid) == {}


def test_a_job_that_never_arrived_is_cancelled(engine):
    from project.core import history

    document = history.new_document(
        "11111111-2222-4333-8444-555555555555", {"destination_cluster": "local", "job": "x", "execution": "true"}
    )
    engine.api.create(document)
    (done,) = control.cancel(engine.context, [engine.api.job(document["job_uuid"])])
    assert done.changed
    assert engine.api.job(document["job_uuid"])["state"] == "CANCELLED"


def test_what_would_be_done_is_done_not(engine):
    from project.engine import planning

    found = planning.plan(engine.context, with_data(engine).request(HELLO))
    assert found["cluster"] == "local"
    assert "in here.txt" in found["script"]
    assert [entry["path"] for entry in found["files"]] == ["files/in here.txt"]
    assert engine.api.jobs() == []
    assert not (engine.home / "local").exists()


def test_the_doctor_finds_nothing_wrong_here(engine):
    from project.engine import doctor, inventory

    found = doctor.check(engine.context, inventory.local())
    assert all(finding.ok for finding in found), found
    assert {"agent file", "login", "agent"} <= {finding.what for finding in found}


def test_the_agent_is_sent_once(engine):
    with_data(engine)
    engine.submit(HELLO)
    engine.context.close()
    engine.submit(HELLO)
    assert len(list((engine.home / "local" / "agent").glob("*.pyz"))) == 1
    assert agentfile.build(engine.home).size < 400_000


def test_the_plan_of_an_array_above_the_limit_shows_its_parts(engine):
    from project.engine import planning

    engine.api.put_cluster(
        {"name": "big", "hostname": "127.0.0.1", "port": 9, "workload_manager": "slurm", "max_array_size": 10}
    )
    text = "destination_cluster: big\nscript: 'true'\nresources: {nbr_jobs_in_array: 25, ranks: 1}\n"
    found = planning.plan(engine.context, engine.request(text))
    assert found["parts"] == ["elements 0-9", "elements 10-19 (there 0-9)", "elements 20-24 (there 0-4)"]
    assert "export JOBFERRY_ARRAY_SIZE=25" in found["script"]
    assert ".p1\n" in found["script"]
    (line,) = [line for line in found["script_lines"] if "--array" in line["text"]]
    assert line == {"text": "#SBATCH --array=0-9", "origin": "resources.array"}
    sge = {"name": "sge", "hostname": "127.0.0.1", "port": 9, "workload_manager": "sge", "max_array_size": 31}
    engine.api.put_cluster(sge)
    text = "destination_cluster: sge\nscript: 'true'\nresources: {array: '0-60:3'}\n"
    assert planning.plan(engine.context, engine.request(text))["parts"] == [
        "elements 0-30:3 (there 1-31:3)",
        "elements 33-60:3 (there 1-28:3)",
    ]


def test_a_line_that_would_be_a_header_line_is_told_before_anything_is_sent(engine):
    from project.engine import planning

    engine.api.put_cluster({"name": "cells", "hostname": "127.0.0.1", "port": 9, "workload_manager": "sge"})
    text = "destination_cluster: cells\njob: .\nexecution: |\n  cat > x <<E\n  #$ -N other\n  E\n"
    with pytest.raises(InputError, match="execution"):
        planning.plan(engine.context, engine.request(text))
