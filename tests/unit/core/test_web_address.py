"""Web addresses: one form for all, and nothing passes that another reader could take for another address."""

import string

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock.core.web_address import AddressError, WebAddress, encode_component, parse

# All of these have been read as 127.0.0.1 or 169.254.169.254 by some library, shell or C function.
TRICKS = {
    "decimal-loopback": "http://2130706433/",
    "hexadecimal-loopback": "http://0x7f000001/",
    "octal-loopback": "http://017700000001/",
    "short-loopback": "http://127.1/",
    "hexadecimal-part-loopback": "http://0x7f.1/",
    "octal-dotted-loopback": "http://0177.0.0.1/",
    "zero-loopback": "http://0/",
    "encoded-loopback": "http://%31%32%37.0.0.1/",
    "circled-loopback": "http://①②⑦.⓪.⓪.①/",
    "wide-digits-loopback": "http://\uff11\uff12\uff17.0.0.1/",
    "wide-dots-loopback": "http://127。0。0。1/",
    "trailing-dot-loopback": "http://127.0.0.1./",
    "zone-loopback": "http://[::1%25lo]/",
    "decimal-metadata": "http://2852039166/",
    "hexadecimal-metadata": "http://0xa9fea9fe/",
    "octal-metadata": "http://025177524776/",
    "octal-dotted-metadata": "http://0251.0376.0251.0376/",
    "hexadecimal-dotted-metadata": "http://0xa9.0xfe.0xa9.0xfe/",
    "short-metadata": "http://169.254.43518/",
    "mixed-metadata": "http://169.0xfe.0251.254/",
    "encoded-metadata": "http://169.254.169%2e254/",
    "circled-metadata": "http://①⑥⑨.②⑤④.①⑥⑨.②⑤④/",
    "overflowing-metadata": "http://425.510.425.510/",
    "five-parts": "http://169.254.169.254.1/",
}
MALFORMED = {
    "empty": "",
    "no-scheme": "example.com/",
    "scheme-relative": "//example.com/",
    "one-slash": "http:/example.com/",
    "no-host": "http:///etc/passwd",
    "file": "file:///etc/passwd",
    "gopher": "gopher://example.com/",
    "script": "javascript://example.com/%0Aalert(1)",
    "user": "http://user@example.com/",
    "password": "http://example.com:secret@evil.example/",
    "empty-user": "http://@example.com/",
    "backslash-host": "http://good.example\\@evil.example/",
    "backslash-path": "http://example.com/a\\..\\b",
    "backslash-slashes": "http:\\\\example.com/",
    "leading-blank": " http://example.com/",
    "trailing-blank": "http://example.com/ ",
    "blank": "http://example.com/a b",
    "tab": "http://exam\tple.com/",
    "line": "http://example.com/\r\nHost: evil.example",
    "nul": "http://example.com/\x00",
    "delete": "http://example.com/\x7f",
    "no-break-blank": "http://example.com/\u00a0",
    "zero-width": "http://exam\u200bple.com/",
    "soft-hyphen": "http://exam\u00adple.com/",
    "direction": "http://example.com/\u202egpj",
    "surrogate": "http://example.com/\ud800",
    "encoded-nul": "http://example.com/%00",
    "encoded-nul-in-query": "http://example.com/?a=%00",
    "encoded-line": "http://example.com/%0d%0aHost:x",
    "encoded-dots": "http://example.com/%2e%2e/admin",
    "half-encoded-dots": "http://example.com/.%2E/admin",
    "encoded-slash": "http://example.com/a%2fb",
    "encoded-backslash": "http://example.com/a%5Cb",
    "twice-encoded": "http://example.com/%252e%252e/admin",
    "overlong": "http://example.com/%c0%ae%c0%ae/admin",
    "not-utf-8": "http://example.com/%ff",
    "broken-escape": "http://example.com/%zz",
    "short-escape": "http://example.com/%4",
    "broken-escape-in-query": "http://example.com/?a=%",
    "empty-segment": "http://example.com//admin",
    "dots-with-parameters": "http://example.com/public/..;/admin",
    "port-empty": "http://example.com:/",
    "port-zero": "http://example.com:0/",
    "port-leading-zero": "http://example.com:080/",
    "port-too-large": "http://example.com:65536/",
    "port-text": "http://example.com:http/",
    "port-wide": "http://example.com:\uff18\uff10/",
    "port-signed": "http://example.com:+80/",
    "two-ports": "http://example.com:80:81/",
    "label-empty": "http://example..com/",
    "label-too-long": f"http://{'a' * 64}.example/",
    "label-hyphen": "http://-example.com/",
    "label-underscore": "http://a_b.example/",
    "name-too-long": f"http://{'.'.join(['a' * 60] * 5)}/",
    "name-trailing-dot": "http://example.com./",
    "name-encoded": "http://ex%61mple.com/",
    "name-circled": "http://ⓔxample.com/",
    "name-ligature": "http://oﬃce.example/",
    "name-ideographic-dot": "http://example。com/",
    "name-not-idna": "http://💩.example/",
    "name-fake-encoding": "http://xn--a.example/",
    "name-hidden-ascii": "http://xn--example-.com/",
    "bracket-open": "http://[::1/",
    "bracket-name": "http://[example.com]/",
    "bracket-ipv4": "http://[127.0.0.1]/",
    "bracket-future": "http://[v1.fe80]/",
    "bracket-zone": "http://[fe80::1%25eth0]/",
    "bracket-trailing": "http://[::1]evil.example/",
    "ipv6-bare": "http://::1/",
    "too-long": "http://example.com/" + "a" * 8_192,
    "too-long-encoded": "http://example.com/" + "é" * 4_000,
}
CANONICAL = {
    "http://example.com": "http://example.com/",
    "HTTP://EXAMPLE.com/": "http://example.com/",
    "http://example.com:80/": "http://example.com/",
    "https://example.com:443/": "https://example.com/",
    "https://example.com:80/": "https://example.com:80/",
    "http://example.com?a=1": "http://example.com/?a=1",
    "http://example.com/?": "http://example.com/",
    "http://example.com/a#b": "http://example.com/a",
    "http://example.com/a/./b/../c": "http://example.com/a/c",
    "http://example.com/../../a": "http://example.com/a",
    "http://example.com/a/..": "http://example.com/",
    "http://example.com/a/b/..": "http://example.com/a/",
    "http://example.com/a/b/.": "http://example.com/a/b/",
    "http://example.com/a/": "http://example.com/a/",
    "http://example.com/%7Euser/%c3%a9": "http://example.com/~user/%C3%A9",
    "http://example.com/é": "http://example.com/%C3%A9",
    "http://example.com/a|b": "http://example.com/a%7Cb",
    "http://example.com/?f[a]=%2f&b=%41+c": "http://example.com/?f%5Ba%5D=%2F&b=A+c",
    "http://example.com/?next=//a/../b": "http://example.com/?next=//a/../b",
    "http://BÜCHER.example/": "http://xn--bcher-kva.example/",
    "http://xn--bcher-kva.example/": "http://xn--bcher-kva.example/",
    "http://faß.example/": "http://xn--fa-hia.example/",
    "http://8.8.8.8:8080/": "http://8.8.8.8:8080/",
    "http://[2606:4700:0:0::1111]:8080/": "http://[2606:4700::1111]:8080/",
    "http://[::ffff:127.0.0.1]/": "http://[::ffff:7f00:1]/",
    "http://localhost:8000/": "http://localhost:8000/",
}


@pytest.mark.parametrize("name", TRICKS)
def test_no_trick_form_of_an_address_passes(name: str) -> None:
    """A number in any form but dotted decimal is refused, and never read as a name (case 45)."""
    with pytest.raises(AddressError, match=r"^the (host|address) "):
        parse(TRICKS[name])


@pytest.mark.parametrize("name", MALFORMED)
def test_what_two_readers_may_take_for_two_is_refused(name: str) -> None:
    """Text outside the one form is refused, and what it says is not in the error (case 45)."""
    with pytest.raises(AddressError) as refused:
        parse(MALFORMED[name])
    assert not MALFORMED[name] or MALFORMED[name] not in str(refused.value)
    assert "evil" not in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", CANONICAL)
def test_the_one_form_is_what_the_rules_say(text: str) -> None:
    """Case, default ports, dot segments, escapes and names are each brought into one form (RFC 3986 6.2.2)."""
    assert str(parse(text)) == CANONICAL[text]


# Anything at all, near an address, so that hypothesis looks where it matters.
HOSTILE = st.text(alphabet="htps:/@.\\%?#[]0127exafé①。 \t\x00\u202e;&=~-_A", max_size=40)
SEGMENTS = st.lists(
    st.text(alphabet=string.ascii_letters + "0123456789-._~!$&'()*+,=:@é|", max_size=6), max_size=5
)
QUERIES = st.none() | st.text(alphabet=string.ascii_letters + "0-._~!$&'()*+,;=:@/?[]{}|^é", max_size=12)
HOSTS = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z]{2,6}){0,2}", fullmatch=True) | st.sampled_from(
    ["8.8.8.8", "[2606:4700::1111]", "bücher.example", "EXAMPLE.com", "faß.de"]
)


@st.composite
def addresses(draw: st.DrawFn) -> str:
    scheme, host, port = (
        draw(st.sampled_from(["http", "https", "HTTPS"])),
        draw(HOSTS),
        draw(st.sampled_from(["", ":80", ":443", ":8080"])),
    )
    query = draw(QUERIES)
    path = "".join(f"/{segment}" for segment in draw(SEGMENTS))
    return f"{scheme}://{host}{port}{path}" + ("" if query is None else f"?{query}")


def parsed(text: str) -> WebAddress | None:
    try:
        return parse(text)
    except AddressError:
        return None


@given(st.text() | HOSTILE | HOSTILE.map("http://example.com/".__add__) | HOSTILE.map("http://".__add__))
@example("http://\u3002")
@example("http://xn--")
@example("http://xn--\u00fc/")
def test_nothing_but_its_own_error_is_raised(text: str) -> None:
    """Whatever the text, the parser answers or refuses (case 45)."""
    address = parsed(text)
    assert address is None or parse(str(address)) == address


@given(addresses())
def test_the_one_form_is_read_as_itself(text: str) -> None:
    """Reading what was written gives the same address, so that there is one form of each (case 45)."""
    address = parsed(text)
    if address is not None:
        assert parse(str(address)) == address
        assert str(parse(str(address))) == str(address)


@given(addresses() | HOSTILE.map("http://example.com/".__add__) | HOSTILE.map("http://".__add__))
@example("http://example.com/a:b/@c;d=1?e=[f]|{g}")
def test_the_library_that_connects_reads_the_same(text: str) -> None:
    """httpx2 finds the host, port, path and query in the one form that the policy was told of (case 45)."""
    address = parsed(text)
    if address is None:
        return
    read = httpx2.URL(str(address))
    assert read.scheme == address.scheme
    assert read.raw_host.decode() == address.host
    assert (read.port or {"http": 80, "https": 443}[read.scheme]) == address.port
    assert read.raw_path.decode() == address.target
    assert str(read) == str(address)
    assert httpx2.Request("GET", str(address)).headers["host"] == address.authority


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_part_of_a_query_stays_one_part(text: str) -> None:
    """Text that is put into a query means nothing there, and is read back as it was (RFC 3986 2.1)."""
    encoded = encode_component(text)
    assert not set(encoded) - set(string.ascii_letters + string.digits + "-._~%")
    if "\x00" not in text:
        assert httpx2.URL(str(parse(f"http://example.com/?a={encoded}"))).params["a"] == text


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("/c", "http://example.com/c"),
        ("c", "http://example.com/a/c"),
        ("../c", "http://example.com/c"),
        ("?c=1", "http://example.com/a/b?c=1"),
        ("", "http://example.com/a/b"),
        ("#c", "http://example.com/a/b"),
        ("//other.example/c", "http://other.example/c"),
        ("https://other.example/c", "https://other.example/c"),
    ],
)
def test_a_reference_is_resolved_as_rfc_3986_says(reference: str, expected: str) -> None:
    """Each form of a Location header leads where RFC 3986 5.4 says."""
    assert str(parse("http://example.com/a/b?q=1").resolve(reference)) == expected


@pytest.mark.parametrize(
    "reference", ["file:///etc/passwd", "//127.1/", "\\\\evil.example", "c:d", "/%2e%2e/", "http:evil", " /c"]
)
def test_a_reference_outside_the_one_form_is_refused(reference: str) -> None:
    """A redirect is read as strictly as a first address (case 46)."""
    with pytest.raises(AddressError):
        parse("http://example.com/a/b").resolve(reference)


@given(HOSTILE | st.text())
def test_no_reference_raises_anything_else(reference: str) -> None:
    """Whatever a Location header says, it is resolved or refused (case 46)."""
    try:
        address = parse("http://example.com/a/b").resolve(reference)
    except AddressError:
        return
    assert parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "below"),
    [
        ("https://api.example/v1", True),
        ("https://api.example/v1/", True),
        ("https://api.example/v1/users?x=1", True),
        ("https://api.example/v1users", False),
        ("https://api.example/", False),
        ("http://api.example/v1/users", False),
        ("https://api.example:8443/v1/users", False),
        ("https://api.example.evil.example/v1/users", False),
    ],
)
def test_below_a_base_is_its_origin_and_inside_its_path(text: str, below: bool) -> None:
    """A path that only begins with the same letters is outside (case 45)."""
    assert parse(text).is_below(parse("https://api.example/v1")) is below
    assert parse(text).is_below(parse("https://api.example/v1/")) is below or text.endswith("/v1")
