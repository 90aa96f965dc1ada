"""Which IP addresses are public: every class that leads inwards, by name, and nothing that is global is lost."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.public_address import is_public

NOT_PUBLIC = {
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"],
    "carrier": ["100.64.0.1", "100.127.255.255"],
    "link-local": ["169.254.169.254", "fe80::1", "febf::1"],
    "unique-local": ["fc00::1", "fd00:ec2::254"],
    "site-local": ["fec0::1"],
    "protocol-assignments": ["192.0.0.1", "192.0.0.170", "2001:1::1", "2001:20::1"],
    "benchmarking": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "4000::1", "5f00::1", "e000::1"],
    "ipv4-mapped": ["::ffff:127.0.0.1", "::ffff:8.8.8.8"],
    "ipv4-compatible": ["::127.0.0.1", "::8.8.8.8"],
    "ipv4-translated": ["::ffff:0:127.0.0.1"],
    "6to4": ["192.88.99.1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::"],
    "teredo": ["2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "nat64": ["64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::a9fe:a9fe"],
    "discard": ["100::1"],
    "6bone": ["3ffe::1"],
    "zone": ["fe80::1%eth0", "2606:4700::1111%1"],
}
PUBLIC = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.32.0.1", "192.0.1.1", "198.17.255.255"]
PUBLIC_6 = ["2606:4700::1111", "2a00:1450::1", "2001:200::1", "2003::1"]


@pytest.mark.parametrize("name", NOT_PUBLIC)
def test_no_class_that_leads_inwards_is_public(name: str) -> None:
    """Addresses of each special class are not public, whatever this Python's `is_global` says (case 45)."""
    assert not any(is_public(ip_address(text)) for text in NOT_PUBLIC[name])


@pytest.mark.parametrize("text", PUBLIC + PUBLIC_6)
def test_global_addresses_are_public(text: str) -> None:
    """What lies just outside the special ranges, and ordinary addresses, may be reached."""
    assert is_public(ip_address(text))


@given(st.integers(min_value=0, max_value=2**32 - 1).map(IPv4Address))
def test_nothing_is_public_that_python_knows_not_to_be_global(address: IPv4Address) -> None:
    """Our list is at least as strict as Python's, for IPv4 (case 45)."""
    assert not is_public(address) or (address.is_global and not address.is_multicast)


@given(st.integers(min_value=0, max_value=2**128 - 1).map(IPv6Address))
def test_nothing_is_public_that_python_knows_not_to_be_global_in_ipv6(address: IPv6Address) -> None:
    """Our list is at least as strict as Python's, for IPv6 (case 45)."""
    assert not is_public(address) or (address.is_global and not address.is_multicast)


@given(st.integers(min_value=0, max_value=2**32 - 1), st.sampled_from([0, 0xFFFF << 32, 0x64FF9B << 96]))
def test_no_ipv4_address_comes_through_inside_an_ipv6_one(number: int, prefix: int) -> None:
    """Mapped, compatible and NAT64 forms of any IPv4 address are not public (case 45)."""
    assert not is_public(IPv6Address(prefix | number))
    assert not is_public(IPv6Address(0x2002 << 112 | number << 80))
