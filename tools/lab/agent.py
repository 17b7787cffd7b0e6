#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The reference agent: five steps an AI agent takes in its sandbox, three that its work needs and two that it should not
be able to take. Runs in a pod of the lab. One line per step: PASS or FAIL for the first three, BLOCKED or REACHED for
the last two. Exit code 0 when the first three pass; what the last two should be is for the caller to say.

    agent.py [-4|-6] [--region REGION] [--wait]

Its credentials for Bedrock are what AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE lead to, by STS, where those are set,
as in a pod with an IAM role; otherwise a fixed key. With --wait it goes on after each step only when it reads a line,
so that the caller can tell the steps' traffic apart.
"""

import argparse
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
BLOCKED_URL = "https://blocked-example.example.com/"
RAW = {socket.AF_INET: ("8.8.8.8", 443), socket.AF_INET6: ("2001:4860:4860::8888", 443)}
SNIPPET = "import lab_greeting\nprint(lab_greeting.greet())\n"

# A sitecustomize for pip's own process, and this one: look-ups give one family only.
ONE_FAMILY = """
import socket
_all = socket.getaddrinfo
def _one(host, port, family=0, *args, **kwargs):
    return _all(host, port, {family}, *args, **kwargs)
socket.getaddrinfo = _one
"""


def say(number, outcome, text):
    print(f"{number}. {outcome}: {text}", flush=True)
    if "--wait" in sys.argv:
        sys.stdin.readline()
    return outcome == "PASS"


def last_line(text):
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def install(folder, site):
    command = ["/usr/bin/python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    command += ["--retries", "0", "--timeout", "10", "--root-user-action", "ignore"]
    command += ["--index-url", "https://pypi.org/simple", "--target", folder, "lab-greeting"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": site}, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return say(1, "PASS", "pip installed lab-greeting from https://pypi.org/simple")
    return say(1, "FAIL", "pip install: " + last_line(done.stderr))


def bedrock(region, models):
    os.environ.update(AWS_DATA_PATH=models, AWS_EC2_METADATA_DISABLED="true", AWS_DEFAULT_REGION=region,
                      AWS_STS_REGIONAL_ENDPOINTS="regional")
    if "AWS_WEB_IDENTITY_TOKEN_FILE" not in os.environ:
        os.environ.update(AWS_ACCESS_KEY_ID="AKIALABLABLABLABLAB1", AWS_SECRET_ACCESS_KEY="lab")
    import boto3  # pylint: disable=import-outside-toplevel
    import botocore.config  # pylint: disable=import-outside-toplevel
    import botocore.exceptions  # pylint: disable=import-outside-toplevel

    config = botocore.config.Config(connect_timeout=10, read_timeout=10, retries={"max_attempts": 0})
    client = boto3.client("bedrock-runtime", region_name=region, config=config)
    try:
        answer = client.converse(modelId=MODEL, messages=[{"role": "user", "content": [{"text": "Say something."}]}])
        text = answer["output"]["message"]["content"][0]["text"]
        return say(2, "PASS", f"Bedrock reply from {client.meta.endpoint_url}: {text}")
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        return say(2, "FAIL", f"Bedrock: {error}")


def snippet(folder):
    path = os.path.join(folder, "snippet.py")
    with open(path, "w", encoding="ascii") as f:
        f.write(SNIPPET)
    done = subprocess.run(["/usr/bin/python3", path], capture_output=True, text=True, timeout=10, check=False)
    if done.returncode == 0:
        return say(3, "PASS", "snippet exited 0: " + last_line(done.stdout))
    return say(3, "FAIL", "snippet: " + last_line(done.stderr))


def unlisted_name():
    try:
        with urllib.request.urlopen(BLOCKED_URL, timeout=5) as answer:
            return say(4, "REACHED", f"{BLOCKED_URL} answered {answer.status}: {last_line(answer.read().decode())}")
    except (urllib.error.URLError, OSError) as error:
        return say(4, "BLOCKED", f"{BLOCKED_URL}: {getattr(error, 'reason', error)}")


def unlisted_address(family):
    host, port = RAW[family]
    label = f"{host}:{port}" if family == socket.AF_INET else f"[{host}]:{port}"
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(3)
        try:
            s.connect((host, port))
        except OSError as error:
            return say(5, "BLOCKED", f"{label}: {error}")
        try:
            tls = ssl.create_default_context()
            tls.check_hostname = False
            with tls.wrap_socket(s):
                return say(5, "REACHED", f"{label} accepted the connection and TLS")
        except OSError as error:
            return say(5, "REACHED", f"{label} accepted the connection ({error})")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-4", dest="family", action="store_const", const=socket.AF_INET, default=socket.AF_INET)
    parser.add_argument("-6", dest="family", action="store_const", const=socket.AF_INET6)
    parser.add_argument("--region", default="us-west-2")
    parser.add_argument("--wait", action="store_true")
    options = parser.parse_args()
    models = os.path.join(os.path.dirname(os.path.realpath(__file__)), "models")
    if not os.path.exists("/run/inside-lab"):
        sys.exit("agent.py: speaks to public addresses; runs inside a lab only")
    one_family = ONE_FAMILY.format(family=int(options.family))
    exec(one_family, {})  # pylint: disable=exec-used
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as site:
        with open(os.path.join(site, "sitecustomize.py"), "w", encoding="ascii") as f:
            f.write(one_family)
        ok = install(folder, site)
        ok = bedrock(options.region, models) and ok
        ok = snippet(folder) and ok
    unlisted_name()
    unlisted_address(options.family)
    return 0 if ok else 1


sys.exit(main())
