"""The command line, killed by SIGKILL at each numbered step of a submission."""

from faults.rows import Row

API = "project.core.api_client:ApiClient"
FRAME = "project.core.protocol"
STEPS = [
    ("before the intent is recorded", f"{API}.create:before:1"),
    ("after the intent is recorded", f"{API}.create:after:1"),
    ("before it connects", "project.engine.context:Context.connect:before:1"),
    ("after it connected", "project.engine.context:Context.connect:after:1"),
    ("after the agent greeted", "project.engine.context:Context.start:after:1"),
    ("before the request is sent", f"{FRAME}:write:before:1"),
    ("after the request is sent", f"{FRAME}:write:after:1"),
    ("among the files", f"{FRAME}:write:after:2"),
    ("before the end of the files", f"{FRAME}:write:before:3"),
    ("after the end of the files", f"{FRAME}:write:after:3"),
    ("after the first answer", f"{FRAME}:read:after:2"),
    ("after the result", "project.engine.link:Link._result:after:1"),
    ("before the agent's events are passed on", "project.engine.journal:Journal.relay:before:1"),
    ("after the job is handed over", "project.engine.submission:Submission.hand_over:after:1"),
    ("before the UUID is printed", "project.engine.submission:Submission.run:after:1"),
]


def killed(point):
    def run(case):
        case.write()
        case.submit_killed(point)
        case.go_on()
        return case.check()

    return run


ROWS = [
    Row(f"cli{number:02d}", f"command line killed {when}", killed(point))
    for number, (when, point) in enumerate(STEPS, 1)
]
