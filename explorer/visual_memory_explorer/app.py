"""The explorer as a web application: who may come in, and which view answers."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import visual_memory
from visual_memory import Error
from visual_memory_explorer import forms, views
from visual_memory_explorer.maps import Maps
from visual_memory_explorer.pages import render
from visual_memory_explorer.pictures import BadPicture
from visual_memory_explorer.sessions import Connect, Gone, Session, Sessions
from visual_memory_explorer.visit import BadInput, Site, Visit, address

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'",
        "cache-control": "no-store",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
    }
)
STATUS: Mapping[type[Exception], int] = MappingProxyType(
    {
        forms.BadForm: 400,
        BadInput: 400,
        BadPicture: 400,
        Gone: 410,
        visual_memory.InvalidArgument: 400,
        visual_memory.PermissionDenied: 403,
        visual_memory.NotFound: 404,
        visual_memory.AlreadyExists: 409,
        visual_memory.FailedPrecondition: 409,
        visual_memory.ResourceExhausted: 429,
        visual_memory.Unavailable: 503,
        visual_memory.DeadlineExceeded: 504,
        Error: 500,
    }
)
NOT_HELD = "This picture is no longer held: drop it again."
NO_PAGE = "There is no such page."
OTHER_SITE = "This form was not sent from a page of this explorer. Load the page again and repeat."
LOGIN, LOGOUT = "/login", "/logout"


class Explorer:
    """The pages of one server at the addresses ``origins``, such as ``http://127.0.0.1:8000``.

    ``connect`` makes a client of the server with an API key, or with none; with ``needs_key`` no
    one comes in without. ``results`` is the folder of benchmark results, if there is one.
    """

    def __init__(
        self,
        connect: Connect,
        origins: list[str],
        *,
        needs_key: bool = False,
        results: Path | None = None,
    ) -> None:
        self._site = Site(Sessions(connect), Maps(), results)
        self._origins, self._needs_key = origins, needs_key
        first = urlsplit(origins[0])
        self._cookie = f"visual-memory-{first.port or first.scheme}"
        self._secure = first.scheme == "https"

    def application(self) -> ASGIApp:
        """Return the ASGI application."""
        static = Path(__file__).with_name("static")
        routes = [
            Route(LOGIN, self._log_in_page, methods=["GET"]),
            Route(LOGIN, self._log_in, methods=["POST"]),
            Route(LOGOUT, self._log_out, methods=["POST"]),
            Mount("/static", StaticFiles(directory=static)),
            *(Route(each.path, self._answer(each), methods=[each.method]) for each in views.VIEWS),
            Route("/{anything:path}", self._no_page),
        ]
        return Guard(Starlette(routes=routes), self._origins)

    async def close(self) -> None:
        """End all sessions, and the maps."""
        await self._site.maps.close()
        await self._site.sessions.close_all()

    async def _log_in_page(self, request: Request) -> Response:
        if not self._needs_key:
            try:
                token = await self._site.sessions.open(None)
            except visual_memory.Unauthenticated:
                pass
            except Error as error:
                return refused(None, str(error), STATUS.get(type(error), 500))
            else:
                return self._come_in(request, token)
        return HTMLResponse(log_in_page())

    async def _log_in(self, request: Request) -> Response:
        try:
            form = await forms.read(request)
            token = await self._site.sessions.open(form.text("key").strip() or None)
        except forms.BadForm as bad:
            return refused(None, str(bad), 400)
        except (visual_memory.Unauthenticated, visual_memory.InvalidArgument):
            problem = "The server does not know this key."
            page = log_in_page(problem)
            return HTMLResponse(page, status_code=401)
        except Error as error:
            return refused(None, str(error), STATUS.get(type(error), 500))
        return self._come_in(request, token)

    def _come_in(self, request: Request, token: str) -> Response:
        to = request.query_params.get("to", "/")
        if not to.startswith("/") or to.startswith(("//", "/\\")):
            to = "/"
        response = RedirectResponse(to, status_code=303)
        response.set_cookie(self._cookie, token, httponly=True, samesite="lax", secure=self._secure)
        return response

    async def _log_out(self, request: Request) -> Response:
        token = request.cookies.get(self._cookie, "")
        session = self._site.sessions.find(token)
        if session is not None:
            form = await forms.read(request)
            if not is_of(session, form):
                return refused(session, OTHER_SITE, 403)
            await self._site.sessions.close(token)
        response = HTMLResponse(log_in_page("Logged out."))
        response.delete_cookie(self._cookie)
        return response

    async def _no_page(self, request: Request) -> Response:
        session = self._site.sessions.find(request.cookies.get(self._cookie, ""))
        return refused(session, NO_PAGE, 404)

    def _answer(self, view: views.View) -> views.Endpoint:
        async def answer(request: Request) -> Response:
            await self._site.sessions.end_idle()
            token = request.cookies.get(self._cookie, "")
            session = self._site.sessions.find(token)
            if session is None:
                return log_in_first(request)
            form = forms.Form([], [])
            try:
                if view.method == "POST":
                    form = await forms.read(request)
                    if not is_of(session, form):
                        return refused(session, OTHER_SITE, 403)
                return await view.answer(Visit(self._site, request, session, form))
            except visual_memory.Unauthenticated:  # the key was revoked
                await self._site.sessions.close(token)
                return log_in_first(request)
            except Gone:
                return refused(session, NOT_HELD, STATUS[Gone])
            except ClientDisconnect:
                return Response(status_code=400)
            except (Error, BadInput, BadPicture, forms.BadForm) as problem:
                status = next(STATUS[each] for each in type(problem).__mro__ if each in STATUS)
                return refused(session, str(problem), status)

        return answer


def log_in_page(problem: str = "") -> str:
    """Render the page to log in."""
    return render("login.html", session=None, info=None, said=None, problem=problem)


def is_of(session: Session, form: forms.Form) -> bool:
    """Return True if a form comes from a page that was made for this session."""
    return secrets.compare_digest(form.text("csrf").encode(), session.csrf.encode())


def log_in_first(request: Request) -> Response:
    """Send the browser to the log-in, and from there back to the page that it wanted."""
    to = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if "hx-request" in request.headers:  # a page that is open asks in the background
        return Response(status_code=401, headers={"hx-refresh": "true"})
    wanted = request.method == "GET" and to != "/"
    return RedirectResponse(address(LOGIN, {"to": to} if wanted else {}), 303)


def refused(session: Session | None, problem: str, status: int) -> Response:
    """Say why a request was refused."""
    page = render(
        "refused.html",
        session=session,
        target=session.client.target if session else "",
        info=None,
        here="",
        said=None,
        has_results=False,
        problem=problem,
    )
    return HTMLResponse(page, status_code=status)


class Guard:
    """Answers only at its own addresses and to its own pages, with the headers that bind browsers.

    A name of a stranger's may lead to this machine (DNS rebinding), and pages of other sites may
    send forms to it.
    """

    def __init__(self, app: ASGIApp, origins: list[str]) -> None:
        self._app, self._origins = app, origins
        self._hosts = {urlsplit(each).netloc for each in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        headers = Headers(scope=scope)
        if headers.get("host", "").lower() not in self._hosts:
            text = f"The explorer answers at {', '.join(self._origins)} alone.\n"
            await PlainTextResponse(text, 421)(scope, receive, sent)
        elif scope["method"] == "POST" and headers.get("origin") not in self._origins:
            await PlainTextResponse(f"{OTHER_SITE}\n", 403)(scope, receive, sent)
        else:
            await self._app(scope, receive, sent)
