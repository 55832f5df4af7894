"""The web pages: a sign-in form, jobs, one job, clusters, mails. `register(app)` adds them to the server's app.

`/jobs`, `/jobs/<uuid>` and `/clusters` are also addresses of the API: who asks for HTML there and brings no credentials in a
header, as a browser does, gets the page.
"""

from api_srv.pages.routes import register

__all__ = ["register"]
