#!/usr/bin/env python3
"""Builds the images of the Dockerfile without an engine, and tries them.

Each stage becomes a folder below target/image-check. COPY copies, RUN runs its command in the stage's WORKDIR with the
machine's own programs in place of the base image's: it needs what that image has (Rust, a C toolchain, perl), on Debian 12.
Then every image is entered by chroot as its own user: its program must start, there must be no shell, and nothing that
the user could write to but /tmp and the folders for volumes. With an image's libraries alone the whole system is served
and asked whether it is ready.
"""

import argparse
import glob
import json
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
import urllib.request

REPO = pathlib.Path(__file__).resolve().parent.parent
WORK = REPO / "target" / "image-check"
WRITABLE = {"tmp", "keys", "decision-key"}


def fail(text):
    sys.exit(f"image: {text}")


def instructions(text):
    """The Dockerfile's (WORD, rest), continuation lines joined."""
    text = re.sub(r"^#.*\n", "", text, flags=re.M)
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip():
            word, rest = line.split(None, 1)
            yield word.upper(), rest.strip()


class Stage:
    """One `FROM` and what follows it, as a folder."""

    def __init__(self, name, base):
        self.name, self.root = name, WORK / name
        self.workdir, self.entrypoint, self.user = "/", [], "0:0"
        # cargo's own folder stays from the last run, or every run would take as long as the first.
        kept = self.root / "src" / "target"
        aside = WORK / "target-aside"
        if kept.exists():
            kept.rename(aside)
        shutil.rmtree(self.root, ignore_errors=True)
        if base:
            shutil.copytree(base.root, self.root, symlinks=True)
            self.workdir, self.entrypoint, self.user = base.workdir, base.entrypoint, base.user
        self.root.mkdir(parents=True, exist_ok=True)
        if aside.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            aside.rename(kept)

    def path(self, name):
        return self.root / os.path.join(self.workdir, name).lstrip("/")

    def copy(self, rest, stages):
        words = rest.split()
        options = dict(w[2:].split("=") for w in words if w.startswith("--"))
        *sources, to = [w for w in words if not w.startswith("--")]
        target = self.path(to)
        made = not target.exists() and to.endswith("/")
        if made:
            target.mkdir(parents=True)
        if "from" not in options:
            if sources != ["."]:
                fail(f"COPY {rest}: only the whole context is known here")
            copy_context(target)
            return
        other = stages[options["from"]]
        for source in sources:
            found = other.path(source)
            if found.is_dir():
                shutil.copytree(found, target, symlinks=True, dirs_exist_ok=True)
            else:
                shutil.copy(found, target)
        if "chown" in options and os.getuid() == 0:
            if not made or any(target.iterdir()):
                fail(f"COPY {rest}: --chown is known here for empty folders only")
            os.chown(target, *map(int, options["chown"].split(":")))

    def run(self, command, said):
        if command != said:
            print(f"image: {self.name}: RUN {said}\nimage:   replaced by: {command}", flush=True)
        else:
            print(f"image: {self.name}: RUN {command}", flush=True)
        start = time.monotonic()
        env = {k: v for k, v in os.environ.items() if k != "CARGO_TARGET_DIR"}
        done = subprocess.run(["bash", "-c", command], cwd=self.path("."), env=env)
        if done.returncode:
            fail(f"the step failed ({done.returncode})")
        print(f"image:   {time.monotonic() - start:.0f} s", flush=True)


def copy_context(target):
    """What Dockerfile.dockerignore lets in: everything is out (`*`) but the lines with `!`."""
    lines = (REPO / "compose/Dockerfile.dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    if patterns[0] != "*" or not all(p.startswith("!") for p in patterns[1:]):
        fail("Dockerfile.dockerignore: only `*` and then lines with `!` are known here")
    for pattern in patterns[1:]:
        found = glob.glob(pattern[1:], root_dir=REPO)
        if not found:
            fail(f"Dockerfile.dockerignore: {pattern} matches nothing")
        for name in found:
            to = target / name
            to.parent.mkdir(parents=True, exist_ok=True)
            if (REPO / name).is_dir():
                shutil.copytree(REPO / name, to, symlinks=True, dirs_exist_ok=True)
            else:
                shutil.copy2(REPO / name, to)


def substitute(command, options):
    """The step as it is to be run here: another profile, or finished programs in place of those that it would build."""
    if options.programs:
        if " chef cook " in command or command.startswith("cargo install ") or " chef prepare " in command:
            return "touch recipe.json"
        if command.startswith("cargo build "):
            names = re.findall(r"-p (\S+)", command)
            folder = options.programs.resolve()
            return "mkdir -p programs && cp " + " ".join(f"{folder}/{n}" for n in names) + " programs/"
    if options.profile:
        command = command.replace("--profile dist", f"--profile {options.profile}")
        folder = "debug" if options.profile == "dev" else options.profile
        command = command.replace("target/dist/", f"target/{folder}/")
    return command


def build(options):
    stages = {}
    stage = None
    for word, rest in instructions((REPO / "compose/Dockerfile").read_text()):
        if word == "FROM":
            base, _, name = rest.split()
            known = stages.get(base)
            if not known and base != "scratch" and not base.startswith("rust:"):
                fail(f"FROM {base}: this machine does not stand in for that")
            stage = stages[name] = Stage(name, known)
        elif word == "WORKDIR":
            stage.workdir = rest
            stage.path(".").mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            stage.copy(rest, stages)
        elif word == "RUN":
            stage.run(substitute(rest, options), rest)
        elif word == "USER":
            stage.user = rest
        elif word == "ENTRYPOINT":
            stage.entrypoint = json.loads(rest)
        else:
            fail(f"{word} is not known here")
    return stages


def inside(stage, *arguments):
    """The image's program, in the image, as its user."""
    chroot = shutil.which("chroot", path="/usr/sbin:/sbin:" + os.environ["PATH"])
    return [chroot, f"--userspec={stage.user}", "--groups=", str(stage.root), *stage.entrypoint, *arguments]


def size(stage):
    return sum(p.lstat().st_size for p in stage.root.rglob("*") if p.is_file() and not p.is_symlink())


def try_image(stage):
    said = subprocess.run(inside(stage, "--version"), capture_output=True, text=True, env={})
    if said.returncode or not said.stdout.startswith(stage.name + " "):
        fail(f"{stage.name} --version: {said.stdout}{said.stderr}")
    uid = int(stage.user.split(":")[0])
    if uid == 0:
        fail(f"{stage.name} runs as root")
    for path in stage.root.rglob("*"):
        info = path.lstat()
        name = str(path.relative_to(stage.root))
        if path.is_symlink():
            fail(f"{stage.name}: /{name} is a link")
        if (info.st_uid == uid or info.st_mode & stat.S_IWOTH) and name.split("/")[0] not in WRITABLE:
            fail(f"{stage.name}: /{name} can be written to")
        if info.st_mode & (stat.S_ISUID | stat.S_ISGID):
            fail(f"{stage.name}: /{name} has a set-id bit")
        program = path.is_file() and info.st_mode & stat.S_IXUSR and ".so" not in path.name
        if program and f"/{name}" != stage.entrypoint[0]:
            fail(f"{stage.name}: /{name} is a program too many")
    print(f"image: {stage.name}: {said.stdout.strip()}, {size(stage) / 2**20:.1f} MiB, user {stage.user}")


def serve(stages):
    """The whole system with an image's libraries alone, asked by another image's `healthcheck`."""
    ports = {"PUBLIC_ADDR": 28080, "ADMIN_ADDR": 28081, "OPS_ADDR": 28090}
    for port in ports.values():
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                fail(f"port {port} is taken")
    env = {name: f"127.0.0.1:{port}" for name, port in ports.items()} | {"DATA_DIR": "/tmp/data"}
    tools, gateway = stages["event-system"], stages["api-gateway"]
    ask = inside(gateway, "healthcheck")
    server = subprocess.Popen(inside(tools, "serve"), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said = []
        for line in server.stdout:
            said.append(line)
            if line.strip() == "ready":
                break
        else:
            fail("serve ended:\n" + "".join(said))
        if subprocess.run(ask, env=env).returncode:
            fail("healthcheck says that the system is not ready")
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['OPS_ADDR']}/metrics") as page:
            if b"event_snapshot_age_seconds" not in page.read():
                fail("the metrics lack the snapshot's age")
    finally:
        server.terminate()
        server.stdout.read()
        code = server.wait(60)
        shutil.rmtree(tools.root / "tmp/data", ignore_errors=True)
    if code:
        fail(f"serve ended with {code}")
    if subprocess.run(ask, env=env, stderr=subprocess.DEVNULL).returncode == 0:
        fail("healthcheck says that a stopped system is ready")
    print("image: served, ready, stopped by SIGTERM with exit 0")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", help="build with this cargo profile in place of dist (dev, release): much faster")
    parser.add_argument("--programs", type=pathlib.Path, metavar="FOLDER",
                        help="build nothing, take finished programs from FOLDER (target/release); all else is run")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    stages = build(options)
    images = [s for s in stages.values() if s.entrypoint]
    if len(images) != 5:
        fail(f"{len(images)} images in place of 5")
    if os.getuid() != 0:
        print("image: not root, so the images are built and not entered")
        return
    for stage in images:
        try_image(stage)
    serve(stages)


main()
