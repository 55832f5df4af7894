"""`python -m api_srv`: the API server, its accounts, backup and restore. Settings: docs/server.md."""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence

from api_srv import app as app_module
from api_srv import settings as settings_module
from api_srv.problems import RefusedError
from api_srv.services.context import Services
from api_srv.store.base import StoreError
from project import __version__
from project.core.errors import JobferryError, UserError

PASSWORD_VARIABLE = "JOBFERRY_NEW_PASSWORD"  # noqa: S105 - the name of a variable


def parser() -> argparse.ArgumentParser:
    """The command line."""
    main_parser = argparse.ArgumentParser(prog="python -m api_srv", description="The jobferry API server.")
    main_parser.add_argument("--version", action="version", version=f"jobferry {__version__}")
    verbs = main_parser.add_subparsers(dest="verb", metavar="VERB")
    verbs.add_parser("serve", help="serve (the default)")
    for verb, words in (("backup", "write everything to FILE"), ("restore", "put FILE back")):
        verbs.add_parser(verb, help=words + ", also while servers run").add_argument("file", metavar="FILE")
    user = verbs.add_parser("user", help="accounts").add_subparsers(dest="action", metavar="ACTION", required=True)
    source = f"The password is asked for, or read from standard input or {PASSWORD_VARIABLE}."
    add = user.add_parser("add", help="add an account", description=source)
    add.add_argument("name", metavar="NAME")
    add.add_argument("--admin", action="store_true", help="sees every job, makes shared clusters")
    user.add_parser("ls", help="list the accounts")
    user.add_parser("rm", help="remove an account; its jobs stay").add_argument("name", metavar="NAME")
    user.add_parser("passwd", help="change a password", description=source).add_argument("name", metavar="NAME")
    user.add_parser("token", help="print a new token for JOBFERRY_API_TOKEN").add_argument("name", metavar="NAME")
    return main_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code (0, 2 bad use, 4 the database's side)."""
    arguments = parser().parse_args(argv)
    try:
        settings = settings_module.read()
        if arguments.verb in (None, "serve"):
            from api_srv import server

            return server.serve(settings)
        services = app_module.make_services(settings)
        try:
            if arguments.verb == "user":
                _user(services, arguments)
            else:
                _copy(services, arguments.verb, arguments.file)
        finally:
            services.store.close()
    except RefusedError as refusal:
        return _failed(str(refusal), 2)
    except StoreError as error:
        return _failed(str(error), 4)
    except JobferryError as error:
        return _failed(str(error), error.exit_code)
    except OSError as error:
        return _failed(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), 2)
    except KeyboardInterrupt:
        return 130
    return 0


def _user(services: Services, arguments: argparse.Namespace) -> None:
    from api_srv.services import accounts

    if arguments.action == "add":
        accounts.add(services, arguments.name, _password(), admin=arguments.admin)
        print(f"Added {arguments.name}.")
    elif arguments.action == "passwd":
        accounts.set_password(services, arguments.name, _password())
        print(f"Changed the password of {arguments.name}; tokens of this account have ended.")
    elif arguments.action == "rm":
        accounts.remove(services, arguments.name)
        print(f"Removed {arguments.name}.")
    elif arguments.action == "token":
        print(accounts.new_token(services, arguments.name))
    else:
        for account in services.store.accounts():
            print(f"{account['name']}\t{'admin' if account['admin'] else 'user'}\t{account['created']}")


def _copy(services: Services, verb: str, path: str) -> None:
    from api_srv.services import backup

    counts = (backup.save if verb == "backup" else backup.restore)(services.store, path)
    words = ", ".join(f"{counts.get(kind, 0)} {kind}s" for kind in ("job", "mail", "cluster", "account"))
    print(f"{'Saved' if verb == 'backup' else 'Restored'} {words}.")


def _password() -> str:
    given = os.environ.get(PASSWORD_VARIABLE, "")
    if given:
        return given
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("Password: ")
    if first != getpass.getpass("The same again: "):
        raise UserError("The two passwords differ.", "Nothing was changed.")
    return first


def _failed(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
