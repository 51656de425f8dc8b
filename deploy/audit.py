"""Asks whether a package of this environment has a known vulnerability, by pip-audit.

    deploy/audit.py [--strict] [PIP-AUDIT'S OPTIONS]

The exit status is 1 if one has.  Where the advisories do not answer, no package was judged: this is said
loudly, and is an error with --strict alone, as a machine without network must be able to check the rest.
ADVISORIES_URL names another source than OSV, by its API's URL.
"""

import json
import os
import subprocess
import sys
from typing import Any

ADVISORIES = "https://api.osv.dev/v1/query"
SECONDS = "15"
IGNORED: dict[str, str] = {}
"""Advisories that do not concern rollcall: the id, and why."""


def main(arguments: list[str]) -> int:
    """Audit, print what was found, and return the exit status."""
    strict = "--strict" in arguments
    options = [argument for argument in arguments if argument != "--strict"]
    report = _report(options)
    judged = [package for package in report if "vulns" in package]
    found = [(package, advisory) for package in judged for advisory in package["vulns"]]
    for package, advisory in found:
        fixed = ", ".join(advisory["fix_versions"]) or "no version"
        print(f"{package['name']} {package['version']}: {advisory['id']}, fixed in {fixed}")
    if found:
        return 1
    unknown = [f"{package['name']}: {package['skip_reason']}" for package in report if "vulns" not in package]
    if not judged or unknown:
        print(
            "!" * 78, *unknown, "THE PACKAGES WERE NOT AUDITED for known vulnerabilities.", "!" * 78, sep="\n"
        )
        return int(strict)
    print(f"{len(judged)} packages have no known vulnerability")
    return 0


def _report(options: list[str]) -> list[dict[str, Any]]:
    """Return pip-audit's packages, none if it could not ask; its own words go to stderr."""
    url = os.environ.get("ADVISORIES_URL", ADVISORIES)
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--skip-editable", "--timeout", SECONDS]
    command += ["--vulnerability-service", "osv", "--osv-url", url, "--progress-spinner", "off"]
    command += [word for advisory in IGNORED for word in ("--ignore-vuln", advisory)]
    ran = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    try:
        report: list[dict[str, Any]] = json.loads(ran.stdout)["dependencies"]
    except (ValueError, KeyError):
        print((ran.stderr.strip().splitlines() or ["pip-audit says nothing"])[-1], file=sys.stderr)
        return []
    # rollcall itself is in no registry.
    return [package for package in report if package["name"] != "rollcall"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
