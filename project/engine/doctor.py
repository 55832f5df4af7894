"""Why a cluster does not work: one finding a step, from the name to the workload manager."""

from typing import Any, NamedTuple

from project.core.errors import JobferryError
from project.engine import agentfile, credentials, inventory, probing
from project.engine.context import Context

Json = dict[str, Any]


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    ok: bool
    text: str
    hint: str = ""


def check(context: Context, cluster: Json) -> list[Finding]:
    """Look at everything a submission to `cluster` needs, submitting nothing. Stops at the first thing that fails."""
    findings = [_api(context), _agent_file(context)]
    if not all(finding.ok for finding in findings):
        return findings
    if not inventory.is_here(cluster):
        probe = probing.probe([cluster])[str(cluster["name"])]
        where = f"{cluster.get('hostname')}:{cluster.get('port') or 22}"
        hint = "" if probe.reachable else "Check hostname and port, and that the network or VPN is up."
        findings.append(Finding("network", probe.reachable, probe.reason or f"{where} answers as SSH", hint))
        if not probe.reachable:
            return findings
    try:
        login = credentials.resolve(context, cluster, None)
        transport = context.connect(cluster, login)
        findings.append(Finding("login", True, transport.description))
        link = context.start(cluster, transport, login)
        hello = link.hello
        findings.append(Finding("agent", True, f"runs as {hello.get('user')} on {hello.get('host')}"))
        fields = {key: value for key, value in cluster.items() if key != "status"}
        answer = link.request("check", workdir=str(cluster.get("workdir") or ""), cluster=fields)
    except JobferryError as error:
        step = "login" if findings[-1].what in {"network", "agent file"} else "agent"
        findings.append(Finding(step, False, error.message, error.hint))
        return findings
    for item in answer.get("findings") or []:
        findings.append(
            Finding(str(item["what"]), bool(item["ok"]), str(item.get("text") or ""), str(item.get("hint") or ""))
        )
    return findings


def _api(context: Context) -> Finding:
    try:
        context.api.clusters()
    except JobferryError as error:
        return Finding("API", False, error.message, error.hint)
    return Finding("API", True, "answers")


def _agent_file(context: Context) -> Finding:
    try:
        agent = agentfile.build(context.home)
    except OSError as error:
        return Finding("agent file", False, f"cannot be made: {error}", f"Is {context.home} writable?")
    return Finding("agent file", True, f"{agent.size // 1024} KiB, {agent.sha256[:16]}")
