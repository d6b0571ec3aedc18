"""A server on loopback that answers as the Hugging Face hub does, with faults that a test asks for."""

import hashlib
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
LARGE = (".safetensors", ".bin")


class Repo:
    """A model: its files by name. Large ones are stored elsewhere, as the hub does."""

    def __init__(self, files, commit=None, gated=False, private=False):
        self.files = dict(files)
        self.commit = commit or hashlib.sha1(repr(sorted(files)).encode()).hexdigest()
        self.gated = gated
        self.private = private
        self.faults = {}  # file name -> Fault

    def etag(self, name):
        content = self.files[name]
        if name.endswith(LARGE):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Fault:
    """What goes wrong with one file. Each is a number of times, or a value that is sent instead of the right one."""

    def __init__(self, cuts=0, busy=0, ignores_range=False, etag=None, size=None, content=None, redirect=None, extra=b""):
        self.cuts = cuts  # the connection ends after a third of what is left
        self.busy = busy  # answers 503
        self.ignores_range = ignores_range
        self.etag = etag
        self.size = size
        self.content = content
        self.redirect = redirect
        self.extra = extra


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        hub = self.server.hub
        with hub.lock:
            hub.requests.append((self.command, self.path, self.headers.get("Authorization"), self.headers.get("Range"),
                                 self.server.server_port))
        if self.path.startswith("/storage/"):
            self.send_stored(*self.path.removeprefix("/storage/").split("/", 2))
        elif match := RESOLVE.fullmatch(self.path):
            self.resolve(*match.groups())
        else:
            self.refuse(404, "NoSuchPage")

    def send_head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        if "Content-Length" not in headers:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def refuse(self, status, code, **headers):
        self.send_head(status, {"X-Error-Code": code, "X-Error-Message": f"{code} \x1b[31m", **headers})

    def resolve(self, name, revision, file):
        hub = self.server.hub
        if name in hub.renamed:  # a relative redirect
            self.send_head(307, {"Location": f"/{hub.renamed[name]}/resolve/{revision}/{file}"})
            return
        repo = hub.repos.get(name)
        authorized = self.headers.get("Authorization") == f"Bearer {hub.token}"
        if repo is None or (repo.private and not authorized):
            return self.refuse(401, "RepoNotFound")
        if repo.gated and not authorized:
            return self.refuse(403 if self.headers.get("Authorization") else 401, "GatedRepo")
        if revision not in ("main", "refs%2Fpr%2F1", repo.commit):
            return self.refuse(404, "RevisionNotFound")
        commit = {"X-Repo-Commit": repo.commit} if hub.names_commits else {}
        if file not in repo.files:
            return self.refuse(404, "EntryNotFound", **commit)
        fault = repo.faults.get(file, Fault())
        if fault.busy > 0:
            fault.busy -= 1
            return self.refuse(503, "Busy")
        etag = fault.etag or repo.etag(file)
        size = fault.size or len(repo.files[file])
        if not file.endswith(LARGE):
            return self.send_content(repo.files[file], fault, {"ETag": f'"{etag}"', **commit}, size)
        location = fault.redirect or f"http://127.0.0.1:{hub.storage_port}/storage/{name}/{file}"
        self.send_head(302, {"Location": location, "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": size,
                             "ETag": '"of-the-redirect"', **commit})

    def send_stored(self, owner, name, file):
        repo = self.server.hub.repos[f"{owner}/{name}"]
        fault = repo.faults.get(file, Fault())
        content = (repo.files[file] if fault.content is None else fault.content) + fault.extra
        self.send_content(content, fault, {"ETag": '"of-the-storage"'}, len(content))

    def send_content(self, content, fault, headers, size):
        first = 0
        status = 200
        if (wanted := self.headers.get("Range")) and not fault.ignores_range:
            first = int(re.fullmatch(r"bytes=(\d+)-", wanted).group(1))
            if first >= len(content):
                return self.send_head(416, {})
            status = 206
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self.send_head(status, {**headers, "Content-Length": size - first})
        if self.command == "HEAD":
            return
        hub = self.server.hub
        body = content[first:]
        if fault.cuts > 0:
            fault.cuts -= 1
            self.wfile.write(body[:max(1, len(body) // 3)])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
            return
        if hub.gate:  # held back until the test lets it go
            self.wfile.write(body[:len(body) // 2])
            self.wfile.flush()
            hub.gate.wait(20)
            body = body[len(body) // 2:]
        try:
            self.wfile.write(body)
        except OSError:  # the client has seen enough
            self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # cut connections


class FakeHub:
    """The hub, and the server that stores large files, which has a port of its own."""

    def __init__(self, tls=None):
        """With `tls`, an ssl.SSLContext, the hub itself is encrypted; the storage is not."""
        self.repos, self.renamed, self.requests = {}, {}, []
        self.token = "secret"
        self.names_commits = True
        self.gate = None
        self.lock = threading.Lock()
        self.servers = [Server(("127.0.0.1", 0), Handler) for _ in range(2)]
        for server in self.servers:
            server.hub = self
        if tls:
            self.servers[0].socket = tls.wrap_socket(self.servers[0].socket, server_side=True)
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.port, self.storage_port = (server.server_port for server in self.servers)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def count(self, command, file):
        return Counter((each[0], each[1].rsplit("/", 1)[1]) for each in self.requests)[command, file]
