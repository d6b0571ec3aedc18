#!/usr/bin/env python3
"""Models by their hub ids, as a user of the program and of the C interface meets them, against a server on loopback.

Usage: hub_test.py PROGRAM EXAMPLE_MODELS [LIBOPHIS]
"""

import json
import os
import pty
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from fake_hub import FakeHub, Fault, Repo

PROGRAM, MODELS = (str(Path(path).resolve()) for path in sys.argv[1:3])
LIBRARY = sys.argv[3] if len(sys.argv) > 3 else None
TINY = {path.name: path.read_bytes() for path in (Path(MODELS) / "mamba2-tiny").iterdir()
        if path.name in ("config.json", "tokenizer.json", "model.safetensors")}
WEIGHTS = "model.safetensors"
NAME = "someone/tiny"


class HubTest(unittest.TestCase):
    def setUp(self):
        self.hub = FakeHub()
        self.addCleanup(self.hub.close)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = Path(folder.name)
        self.cache = self.home / "hub" / "models--someone--tiny"
        self.repo = self.hub.repos[NAME] = Repo(TINY)

    def environment(self, **changes):
        """This process' without what the program reads of it, but with the folders and servers of the test."""
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith(("HF_", "HUGGING", "TRANSFORMERS_", "XDG_"))
                       and not name.endswith(("CA_BUNDLE", "CERT_FILE")) and not name.lower().endswith("_proxy")}
        environment.update(HF_HOME=str(self.home), HF_ENDPOINT=self.hub.url, OMP_NUM_THREADS="1")
        return {name: value for name, value in {**environment, **changes}.items() if value is not None}

    def run_ophis(self, *arguments, **changes):
        return subprocess.run([PROGRAM, *arguments], env=self.environment(**changes), cwd=self.home, text=True,
                              capture_output=True, timeout=60, check=False)

    def download(self, name=NAME, *arguments, **changes):
        """The folder that `ophis download` prints."""
        result = self.run_ophis("download", name, *arguments, **changes)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, "")
        return Path(result.stdout.rstrip("\n"))

    def check_fails(self, code, part, name=NAME, *arguments, **changes):
        result = self.run_ophis("download", name, "--json", *arguments, **changes)
        self.assertEqual(result.returncode, 1, result)
        error = json.loads(result.stdout)["error"]
        self.assertEqual(error["code"], code, error)
        self.assertIn(part, error["message"])
        self.assertNotIn("\x1b", error["message"])
        return error["message"]

    def check_whole(self, folder, files=TINY):
        self.assertEqual({path.name for path in folder.iterdir()}, set(files))
        for name, content in files.items():
            self.assertEqual((folder / name).read_bytes(), content)
        self.assertEqual(list(self.cache.glob("blobs/*.incomplete")), [])

    # What works

    def test_layout_of_the_cache(self):
        folder = self.download()
        self.assertEqual(folder, self.cache / "snapshots" / self.repo.commit)
        self.check_whole(folder)
        self.assertEqual((self.cache / "refs" / "main").read_text(), self.repo.commit)
        for name in TINY:
            self.assertEqual(os.readlink(folder / name), f"../../blobs/{self.repo.etag(name)}")
        absent = self.cache / ".no_exist" / self.repo.commit
        self.assertEqual({path.name for path in absent.iterdir()},
                         {"tokenizer_config.json", "special_tokens_map.json", "generation_config.json"})

    def test_generates_and_asks_only_once(self):
        arguments = ("generate", "--prompt", "ROMEO:", "--max-new-tokens", "5", "--json", "--model")
        by_name = self.run_ophis(*arguments, NAME)
        self.assertEqual(by_name.returncode, 0, by_name.stderr)
        by_folder = self.run_ophis(*arguments, str(Path(MODELS) / "mamba2-tiny"))
        self.assertEqual(json.loads(by_name.stdout)["ids"], json.loads(by_folder.stdout)["ids"])
        self.hub.requests.clear()
        self.assertEqual(self.run_ophis(*arguments, NAME).returncode, 0)
        self.assertEqual(self.run_ophis("info", "--model", NAME).returncode, 0)
        self.assertEqual(self.hub.requests, [])

    def test_tokenizer_needs_no_weights(self):
        for arguments in (("--model", NAME), ("--tokenizer", NAME)):
            result = self.run_ophis("tokenize", "ROMEO:", *arguments)
            self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual({each[1].rsplit("/", 1)[1] for each in self.hub.requests}, {"tokenizer.json"})
        self.check_whole(self.download())

    def test_a_folder_of_that_name_wins(self):
        (self.home / NAME).parent.mkdir()
        (self.home / NAME).symlink_to(Path(MODELS).resolve() / "mamba-tiny")
        result = self.run_ophis("info", "--model", NAME, "--json")
        self.assertEqual(json.loads(result.stdout)["model"], NAME)
        self.assertEqual(self.hub.requests, [])

    def test_revisions(self):
        by_name = self.download(f"{NAME}@refs/pr/1")
        self.assertEqual((self.cache / "refs" / "refs" / "pr" / "1").read_text(), self.repo.commit)
        self.assertFalse((self.cache / "refs" / "main").exists())
        self.assertEqual(self.download(NAME, "--revision", self.repo.commit), by_name)
        self.assertEqual(self.run_ophis("info", "--model", NAME, "--revision", self.repo.commit,
                                        HF_HUB_OFFLINE="1").returncode, 0)
        self.check_fails("invalid_argument", "the name says 'main'", f"{NAME}@main", "--revision", "other")
        self.check_fails("invalid_argument", "not a revision", NAME, "--revision", "../../elsewhere")

    def test_refresh_follows_the_branch(self):
        old = self.download()
        self.hub.repos[NAME] = Repo(TINY, commit="f" * 40)
        (self.cache / ".no_exist" / self.repo.commit / "generation_config.json").unlink()
        result = self.run_ophis("info", "--model", NAME, "--json")
        self.assertEqual(json.loads(result.stdout)["model"], str(old))
        new = self.download()
        self.assertEqual(new, self.cache / "snapshots" / ("f" * 40))
        self.assertEqual(self.hub.count("GET", WEIGHTS), 2)  # the redirect and the storage, both for the first commit
        self.check_whole(new)

    def test_shards_and_pytorch_files(self):
        shards = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
        index = {"weight_map": {"a": shards[0], "b": shards[1], "c": shards[0]}}
        files = {"config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode(),
                 shards[0]: b"first" * 1000, shards[1]: b"second" * 1000}
        self.hub.repos[NAME] = Repo({**files, "pytorch_model.bin": b"not wanted", "README.md": b"not wanted"})
        self.check_whole(self.download(), files)
        files = {"params.json": b"{}", "pytorch_model.bin": b"weights" * 100}
        self.hub.repos[NAME] = Repo({**files, "LICENSE": b"not wanted"})
        self.check_whole(self.download(), files)

    def test_environment_names_the_cache(self):
        self.download(HF_HUB_CACHE=str(self.home / "a"), HUGGINGFACE_HUB_CACHE=str(self.home / "b"))
        self.download(HUGGINGFACE_HUB_CACHE=str(self.home / "b"))
        self.download(HF_HOME=None, XDG_CACHE_HOME=str(self.home / "c"))
        self.download(HF_HOME="~/d", HOME=str(self.home))
        for folder in ("a", "b", "c/huggingface/hub", "d/hub"):
            self.assertTrue((self.home / folder / "models--someone--tiny").is_dir(), folder)

    def test_renamed_model(self):
        self.hub.renamed["someone/old-name"] = NAME
        self.check_whole(self.download("someone/old-name"))

    # Transfers that go wrong

    def test_cut_connections_are_resumed(self):
        self.repo.faults = {WEIGHTS: Fault(cuts=3), "tokenizer.json": Fault(cuts=1)}
        self.check_whole(self.download())
        ranges = [each[3] for each in self.hub.requests if each[0] == "GET" and each[1].startswith("/storage")]
        self.assertEqual(len(ranges), 4)
        starts = [int(each.removeprefix("bytes=").rstrip("-")) if each else 0 for each in ranges]
        self.assertEqual(starts, sorted(set(starts)))

    def test_a_later_run_resumes(self):
        blob = self.cache / "blobs" / self.repo.etag(WEIGHTS)
        blob.parent.mkdir(parents=True)
        partial = blob.with_name(blob.name + ".incomplete")
        half = len(TINY[WEIGHTS]) // 2
        partial.write_bytes(TINY[WEIGHTS][:half])
        self.check_whole(self.download())
        self.assertIn(("GET", f"bytes={half}-"), {(each[0], each[3]) for each in self.hub.requests})
        # All of it had come, or more than there is.
        for content, requests in ((TINY[WEIGHTS], 0), (TINY[WEIGHTS] + b"more", 2)):
            blob.unlink()
            (self.cache / "snapshots" / self.repo.commit / WEIGHTS).unlink()
            partial.write_bytes(content)
            before = self.hub.count("GET", WEIGHTS)
            self.check_whole(self.download())
            self.assertEqual(self.hub.count("GET", WEIGHTS) - before, requests)

    def test_a_server_without_ranges(self):
        self.repo.faults = {WEIGHTS: Fault(cuts=1, ignores_range=True)}
        self.check_whole(self.download())

    def test_a_busy_server(self):
        self.repo.faults = {"config.json": Fault(busy=1), WEIGHTS: Fault(busy=1)}
        self.check_whole(self.download())
        self.repo.faults = {"config.json": Fault(busy=99)}
        self.check_fails("io", "not available now (status 503)")

    def test_damaged_content(self):
        damaged = bytearray(TINY[WEIGHTS])
        damaged[1000] ^= 1
        self.repo.faults = {WEIGHTS: Fault(content=bytes(damaged))}
        self.check_fails("corrupt_data", "SHA-256")
        self.assertFalse((self.cache / "snapshots" / self.repo.commit / WEIGHTS).exists())
        self.assertEqual(list(self.cache.glob("blobs/*.incomplete")), [])
        self.assertFalse((self.cache / "refs" / "main").exists())
        self.repo.faults = {}
        self.check_whole(self.download())

    def test_two_processes_at_once(self):
        self.hub.gate = threading.Event()
        processes = [subprocess.Popen([PROGRAM, "download", NAME], env=self.environment(), stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True) for _ in range(3)]
        time.sleep(0.5)
        self.hub.gate.set()
        outputs = [process.communicate(timeout=60) for process in processes]
        for process, (out, err) in zip(processes, outputs):
            self.assertEqual((process.returncode, err), (0, ""))
            self.check_whole(Path(out.rstrip("\n")))
        self.assertEqual(self.hub.count("GET", WEIGHTS), 2)  # the redirect and the storage, once

    def test_killed_and_run_again(self):
        self.hub.gate = threading.Event()
        process = subprocess.Popen([PROGRAM, "download", NAME], env=self.environment())
        partial = self.cache / "blobs" / (self.repo.etag("config.json") + ".incomplete")
        for _ in range(200):
            if partial.exists() and partial.stat().st_size > 0:
                break
            time.sleep(0.05)
        process.kill()
        process.wait()
        self.hub.gate.set()
        self.assertGreater(partial.stat().st_size, 0)
        self.assertFalse((self.cache / "snapshots").exists())
        self.hub.requests.clear()
        self.check_whole(self.download())
        self.assertTrue(any(each[3] for each in self.hub.requests))

    def test_progress_on_a_terminal(self):
        terminal, end = pty.openpty()
        self.repo.faults = {WEIGHTS: Fault(cuts=2)}  # so that it takes long enough to be shown
        process = subprocess.Popen([PROGRAM, "download", NAME], env=self.environment(), stdout=subprocess.PIPE, stderr=end)
        os.close(end)
        shown = b""
        try:
            while piece := os.read(terminal, 4096):
                shown += piece
        except OSError:  # the end of a terminal
            pass
        os.close(terminal)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)
        self.assertRegex(shown.decode(), r"\r.*downloading model\.safetensors \[=* *\] +\d+ % .* of ")
        self.assertTrue(shown.endswith(b"\r\x1b[K"), shown[-40:])

    # What is refused

    def test_what_is_not_there(self):
        self.check_fails("not_found", "no such model or keeps it private", "someone/else")
        self.check_fails("not_found", "has no revision 'v9'", f"{NAME}@v9")
        self.hub.repos[NAME] = Repo({"config.json": b"{}"})
        self.check_fails("not_found", "has no model.safetensors or")
        self.hub.repos[NAME] = Repo({"README.md": b""})
        self.check_fails("not_found", "has no config.json or params.json")
        self.check_fails("invalid_argument", "not the id of a model", "no/such/model")
        result = self.run_ophis("info", "--model", "no/such/model")
        self.assertIn("there is no folder 'no/such/model'", result.stderr)

    def test_tokens(self):
        self.hub.repos[NAME] = Repo(TINY, gated=True)
        self.assertIn("set HF_TOKEN", self.check_fails("io", "is gated: ask for access at"))
        self.assertIn("the token that was sent", self.check_fails("io", "is gated", HF_TOKEN="wrong"))
        self.check_whole(self.download(HF_TOKEN=" secret\n"))
        for command, path, token, _, port in self.hub.requests:
            if port == self.hub.storage_port:
                self.assertIsNone(token, f"{command} {path}")
        self.hub.repos["someone/private"] = Repo(TINY, private=True)
        self.check_fails("not_found", "keeps it private", "someone/private")
        (self.home / "token").write_text("secret\n")
        self.download("someone/private")
        self.check_fails("not_found", "keeps it private", "someone/private@main", HF_HUB_DISABLE_IMPLICIT_TOKEN="1",
                         HF_HUB_CACHE=str(self.home / "other"))

    @unittest.skipUnless(shutil.which("openssl"), "there is no openssl to make a certificate")
    def test_encryption(self):
        key, certificate = str(self.home / "key.pem"), str(self.home / "certificate.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                        "1", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key,
                        "-out", certificate], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        hub = FakeHub(context)
        self.addCleanup(hub.close)
        hub.repos[NAME] = self.repo
        self.check_fails("io", "certificate", HF_ENDPOINT=hub.url)
        # The certificate is trusted now, but an encrypted server must not lead to one that is not.
        self.check_fails("corrupt_data", "not https", HF_ENDPOINT=hub.url, CURL_CA_BUNDLE=certificate)
        self.repo.files = {"config.json": b"{}", "pytorch_model.bin": b"weights"}
        self.repo.faults = {"pytorch_model.bin": Fault(redirect=f"{hub.url}/storage/{NAME}/pytorch_model.bin")}
        folder = self.download(HF_ENDPOINT=hub.url, CURL_CA_BUNDLE=certificate, HF_HUB_CACHE=str(self.home / "fresh"))
        self.assertEqual((folder / "pytorch_model.bin").read_bytes(), b"weights")

    def test_without_a_network(self):
        message = self.check_fails("not_found", "HF_HUB_OFFLINE", HF_HUB_OFFLINE="1")
        self.assertIn(str(self.cache), message)
        self.assertEqual(self.hub.requests, [])
        nobody = FakeHub()
        nobody.close()
        self.assertIn("check the connection", self.check_fails("io", "could not reach 127.0.0.1", HF_ENDPOINT=nobody.url))
        folder = self.download()
        # All that is needed is there, but nobody has looked for the optional files.
        for path in self.cache.glob(".no_exist/*/*"):
            path.unlink()
        for changes in ({"HF_ENDPOINT": nobody.url}, {"HF_HUB_OFFLINE": "yes"}):
            result = self.run_ophis("info", "--model", NAME, "--json", **changes)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(json.loads(result.stdout)["model"], str(folder))
        self.assertEqual(self.download(HF_HUB_OFFLINE="1"), folder)
        self.check_fails("io", "could not reach", HF_ENDPOINT=nobody.url)  # download was asked for something newer
        (folder / WEIGHTS).unlink()
        self.check_fails("not_found", "has no model.safetensors or", HF_HUB_OFFLINE="1")

    def test_hostile_indexes(self):
        for shard in ("../../../../escaped.safetensors", "/tmp/escaped.safetensors", "a/b.safetensors", ".hidden.bin",
                      "config.json", "a\\b.bin", "a%2fb.bin", "", 7, "x" * 300 + ".bin"):
            with self.subTest(shard=shard):
                index = json.dumps({"weight_map": {"a": shard}}).encode()
                self.hub.repos[NAME] = Repo({"config.json": b"{}", "model.safetensors.index.json": index, "a/b.safetensors": b""})
                result = self.run_ophis("download", NAME)
                self.assertEqual(result.returncode, 1)
                self.assertIn("index.json", result.stderr)
        for index in (b"{", b"[]", b"{}", b'{"weight_map": []}', b"[" * 100000):
            self.hub.repos[NAME] = Repo({"config.json": b"{}", "model.safetensors.index.json": index})
            self.check_fails("corrupt_data", "index.json")
        self.assertEqual({path.name for path in self.home.iterdir()}, {"hub"})

    def test_hostile_answers(self):
        for fault, part in ((Fault(etag="../../escaped"), "ETag"), (Fault(etag=".."), "ETag"), (Fault(etag="a" * 200), "ETag"),
                            (Fault(size="-1"), "size"), (Fault(size="9" * 30), "size"), (Fault(size="1e3"), "size"),
                            (Fault(redirect="file:///etc/passwd"), "not https"),
                            (Fault(redirect="http://192.0.2.1/model"), "not https"),
                            (Fault(redirect=f"{self.hub.url}/{NAME}/resolve/main/{WEIGHTS}"), "too many redirects"),
                            (Fault(extra=b"too much"), "sends more")):
            with self.subTest(part=part, fault=vars(fault)):
                self.repo.faults = {WEIGHTS: fault}
                self.check_fails("corrupt_data", part)
        self.repo.faults = {WEIGHTS: Fault(size=2**62)}
        self.check_fails("io", "has room for")
        self.repo.faults = {"tokenizer.json": Fault(size=2**40)}
        self.check_fails("corrupt_data", "at most", HF_HUB_CACHE=str(self.home / "hub" / "fresh"))
        self.repo.faults = {}
        for commit in ("../../escaped", "."):
            self.repo.commit = commit
            self.check_fails("corrupt_data", "not a commit")
        self.hub.names_commits = False
        self.check_fails("corrupt_data", "no Hugging Face hub")
        self.assertEqual({path.name for path in self.home.iterdir()}, {"hub"})
        self.check_fails("invalid_argument", "must begin with https://", HF_ENDPOINT="ftp://127.0.0.1")
        self.check_fails("invalid_argument", "more than one line", HF_TOKEN="one\ntwo")

    @unittest.skipUnless(LIBRARY, "there is no libophis")
    def test_c_interface(self):
        program = f"""import ctypes
library = ctypes.CDLL({LIBRARY!r})
library.ophis_last_error.restype = ctypes.c_char_p
for load in (lambda *name: library.ophis_model_load(*name, None, ctypes.byref(handle)),
             lambda *name: library.ophis_tokenizer_load(*name, ctypes.byref(handle))):
    for name in (b"{NAME}", b"{NAME}@v9"):
        handle = ctypes.c_void_p()
        print(load(name), bool(handle), library.ophis_last_error().decode())
"""
        result = subprocess.run([sys.executable, "-c", program], env=self.environment(), text=True, capture_output=True,
                                timeout=60, check=False)
        lines = result.stdout.splitlines()
        self.assertEqual(len(lines), 4, result.stderr)
        for good, bad in (lines[:2], lines[2:]):
            self.assertTrue(good.startswith("0 True"), good)
            self.assertRegex(bad, "^[1-9]+ False .*has no revision 'v9'")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
