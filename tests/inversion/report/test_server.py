"""The server gives reports to this machine with the token, and nothing to anybody else."""

import http.client
import threading

import pytest
from tests.inversion.report.directories import a_group, grid, report_of

from medleak.inversion.report import server
from medleak.inversion.report.html.page import index
from medleak.inversion.report.reading import read_audit

pytestmark = pytest.mark.slow

TOKEN = "t0ken"


@pytest.fixture
def port(directory):
    """Of a server with an audit, and with one that is gone."""
    folder = directory.write(grid(["<b>site"]))

    def report(path):
        read_audit(path)
        return report_of(path).html

    library = server.Library(
        audits={"1": folder, "2": folder.parent / "gone"},
        index=lambda folders: index(folders, "redacted"),
        report=report,
        token=TOKEN,
    )
    with server.serve(library) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running.server_address[1]
        running.shutdown()
        thread.join()


@pytest.fixture
def ask(port):
    """Ask for a path as it is; gives status, headers and body."""

    def request(path, method="GET", host=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host or f"127.0.0.1:{port}")
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), body

    return request


def test_the_token_opens_the_list_and_the_reports(ask):
    status, _, body = ask(f"/{TOKEN}/")
    assert status == 200
    assert b"Audits" in body
    status, _, body = ask(f"/{TOKEN}/1")
    assert status == 200
    assert b"Site by site" in body


@pytest.mark.parametrize("path", ["/", "/t0ke", "/t0kenx/", "/T0KEN/1", "/x/t0ken/", "/1"])
def test_without_the_whole_token_there_is_nothing(ask, path):
    status, _, body = ask(path)
    assert status == 403
    assert b"<" not in body


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "1/../../summary.json",
        "%2e%2e/summary.json",
        "1/results.csv",
        "3",
        "%EF%BC%91",
    ],
)
def test_a_path_is_never_taken_for_a_file(ask, path):
    assert ask(f"/{TOKEN}/{path}")[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1.evil.example:80", "-"])
def test_another_host_name_is_refused_so_that_rebinding_a_name_is_of_no_use(ask, host):
    assert ask(f"/{TOKEN}/", host=host)[0] == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_is_read_only(ask, method):
    assert ask(f"/{TOKEN}/", method=method)[0] == 501


def test_head_has_the_headers_and_no_body(ask):
    status, headers, body = ask(f"/{TOKEN}/", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize("path", [f"/{TOKEN}/", f"/{TOKEN}/1", "/nothing"])
def test_every_answer_forbids_framing_sniffing_caching_and_sending_its_address_on(ask, path):
    _, headers, _ = ask(path)
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_an_audit_that_cannot_be_read_says_so_without_its_path(ask):
    status, _, body = ask(f"/{TOKEN}/2")
    assert status == 500
    assert b"gone" not in body
    assert b"/" not in body


def test_in_a_browser_the_list_leads_to_reports_that_work_under_all_policies(port, browser):
    context = browser.new_context()
    page, wrong = context.new_page(), []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"http://127.0.0.1:{port}/{TOKEN}/")
    page.get_by_role("link", name="audit").first.click()
    page.locator("#tiles img").first.wait_for()
    page.locator("#slide-round").fill("1")
    assert page.locator("#say-round").text_content() == "1"
    context.close()
    assert wrong == []


def test_it_listens_on_this_machine_alone():
    library = server.Library(audits={}, index=lambda _: b"", report=lambda _: b"", token=TOKEN)
    with server.serve(library) as running:
        assert running.server_address[0] == "127.0.0.1"


def test_the_list_says_which_audit_leaks_and_which_cannot_be_read(directory, another):
    first = directory.write([], [a_group("<script>")], pictures=False)
    second = another.write([], [a_group("s")], pictures=False)
    (second / "results.csv").write_text("damaged\n")
    page = index({"1": first, "2": second}, "redacted").decode()
    assert "&lt;script&gt; leaks its patients&#39; images." in page
    assert "cannot be read" in page


def test_audits_are_found_at_any_depth_and_their_lack_is_an_error(directory, tmp_path):
    folder = directory.write(grid(["s"]))
    assert server.find_audits(tmp_path) == [folder]
    assert server.find_audits(folder) == [folder]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="No audit at or below"):
        server.find_audits(tmp_path / "empty")
