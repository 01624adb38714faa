from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antechamber.egress import Policy, host_addresses
from antechamber.errors import Code, OperatorError

# from IANA's registries of special-purpose addresses and of multicast, and the clouds' own; written down apart from
# the list that is tested
SPECIAL_V4 = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
)
SPECIAL_V6 = (
    "::/96",
    "::ffff:0:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001::/32",
    "2001:2::/48",
    "2001:10::/28",
    "2001:20::/28",
    "2001:db8::/32",
    "2002::/16",
    "3ffe::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "4000::/3",
    "8000::/1",
)
special_v4 = st.sampled_from(SPECIAL_V4).flatmap(lambda net: st.ip_addresses(network=net))
special_v6 = st.sampled_from(SPECIAL_V6).flatmap(lambda net: st.ip_addresses(network=net))
public_v4 = st.ip_addresses(v=4).filter(lambda address: not any(address in ip_network(net) for net in SPECIAL_V4))
public_v6 = st.ip_addresses(network="2600::/12").filter(
    lambda address: int(address) >> 32 & 0xFFFFFFFF not in {0x5EFE, 0x2005EFE}
)


def policy(**options) -> Policy:
    return Policy(**{"own_addresses": frozenset, **options})


def embedded(inner: IPv4Address) -> list[IPv6Address]:
    """All forms in which an IPv6 address carries an IPv4 address."""
    number = int(inner)
    prefixes = ("::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::", "64:ff9b:1:aa::")
    forms = [IPv6Address(int(IPv6Address(prefix)) | number) for prefix in prefixes]
    forms.append(IPv6Address((0x2002 << 112) | (number << 80) | 1))  # 6to4
    forms.append(
        IPv6Address((0x20010000 << 96) | (int(IPv4Address("8.8.8.8")) << 64) | (number ^ 0xFFFFFFFF))
    )  # Teredo
    forms.append(IPv6Address((0x20010000 << 96) | (number << 64) | (int(IPv4Address("8.8.8.8")) ^ 0xFFFFFFFF)))
    forms.extend(IPv6Address((0x2A00 << 112) | (tag << 32) | number) for tag in (0x5EFE, 0x2005EFE))  # ISATAP
    return forms


@given(special_v4)
def test_no_special_ipv4_address_is_reached(address):
    assert not policy().judge_address(address).allowed


@given(special_v4)
def test_no_special_ipv4_address_is_reached_inside_an_ipv6_address(address):
    for form in embedded(address):
        assert not policy().judge_address(form).allowed, form


@given(special_v6)
def test_no_special_ipv6_address_is_reached(address):
    assert not policy().judge_address(address).allowed


@given(public_v4)
def test_a_public_ipv4_address_is_reached_as_itself(address):
    assert policy().judge_address(address).address == address


@given(public_v4)
def test_a_public_ipv4_address_in_mapped_form_is_reached_as_the_ipv4_address_that_it_is(address):
    judged = policy().judge_address(f"::ffff:{address}")
    assert judged.allowed
    assert judged.address == address


@given(public_v6)
def test_a_public_ipv6_address_is_reached(address):
    assert policy().judge_address(address).address == address


@pytest.mark.parametrize(
    "trap",
    [
        "224.0.0.1",
        "ff0e::1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "::10.0.0.1",
        "fec0::1",
        "169.254.169.254",
        "2600::1%eth0",
    ],
)
def test_the_traps_of_is_global_are_refused(trap):
    assert not policy().judge_address(trap).allowed


@given(st.one_of(st.ip_addresses(), st.text(max_size=40)))
def test_the_policy_decides_on_anything_without_an_error(raw):
    judged = policy().judge_address(str(raw))
    assert judged.allowed == (judged.address is not None)
    assert judged.allowed != bool(judged.why)


@given(public_v4)
def test_the_hosts_own_addresses_are_read_at_each_check(address):
    own: set = set()
    judge = policy(own_addresses=lambda: own).judge_address
    assert judge(address).allowed
    own.add(ip_network(address))
    assert not judge(address).allowed
    assert not judge(f"::ffff:{address}").allowed


def test_where_the_hosts_addresses_cannot_be_read_everything_is_refused():
    def unreadable() -> frozenset:
        raise PermissionError

    assert not policy(own_addresses=unreadable).judge_address("8.8.8.8").allowed


def test_the_kernel_tells_the_hosts_own_addresses():
    own = host_addresses()
    assert any(IPv4Address("127.0.0.1") in net for net in own)
    assert any(IPv4Address("127.9.9.9") in net for net in own)


LOCAL_ROUTES = """
from antechamber.egress import Policy
judge = Policy().judge_address
for address in ("8.8.8.1", "8.8.8.77", "9.9.9.9", "2600:1::5", "2600:2::1", "2600:2::2", "2600:3::1"):
    print(address, judge(address).why)
"""


def test_what_routes_lead_to_the_host_itself_is_its_own_in_both_families():
    setting_up = (
        "ip link set lo up && ip addr add 8.8.8.1/32 dev lo && ip route add local 8.8.8.64/26 dev lo"
        " && ip -6 addr add 2600:2::1/64 dev lo nodad && ip -6 route add local 2600:1::/64 dev lo"
        " && ip -6 route add 2600:3::/64 dev lo"
    )
    space = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    probe = subprocess.run([*space, "true"], check=False, capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"no namespaces here: {probe.stderr}")
    script = f'{setting_up} && exec "$0" -c "$1"'
    ran = [*space, "sh", "-c", script, sys.executable, LOCAL_ROUTES]
    told = subprocess.run(ran, check=True, capture_output=True, text=True, timeout=60).stdout
    assert told.splitlines() == [
        "8.8.8.1 the host's own address",
        "8.8.8.77 the host's own address",
        "9.9.9.9 ",
        "2600:1::5 the host's own address",
        "2600:2::1 the host's own address",
        "2600:2::2 ",
        "2600:3::1 ",
    ]


def test_what_a_router_answers_to_as_any_of_its_kind_is_the_hosts_own(tmp_path):
    (tmp_path / "fib_trie").write_text("")
    (tmp_path / "if_inet6").write_text("26000001000000000000000000000001 02 40 00 80     eth0\n")
    # destination and its length, source and its length, next hop, metric, references, use, flags, device
    blank = "00000000000000000000000000000000"
    (tmp_path / "ipv6_route").write_text(
        f"26000001000000000000000000000000 80 {blank} 00 {blank} 00000000 00000001 00000000 80300001     eth0\n"
        f"26000001000000000000000000000000 40 {blank} 00 {blank} 00000100 00000001 00000000 00000001     eth0\n"
    )
    assert host_addresses(tmp_path) == {ip_network("2600:1::1"), ip_network("2600:1::")}
    for name in ("if_inet6", "ipv6_route"):
        (tmp_path / name).unlink()
    assert host_addresses(tmp_path) == frozenset(), "a kernel without IPv6"
    (tmp_path / "fib_trie").unlink()
    with pytest.raises(FileNotFoundError):
        host_addresses(tmp_path)


def test_of_many_addresses_each_is_judged_with_one_look_at_the_hosts_own():
    looks = []

    def own() -> frozenset:
        looks.append(1)
        return frozenset({ip_network("8.8.8.0/24")})

    judged = policy(own_addresses=own).judge_addresses([f"8.8.{third}.1" for third in range(7, 10)])
    assert [judgement.allowed for judgement in judged] == [True, False, True]
    assert len(looks) == 1


def test_the_addresses_of_the_services_own_urls_are_refused():
    judge = policy(public_urls=["https://8.8.4.4:8700", "https://broker.some.dev"]).judge_address
    assert not judge("8.8.4.4").allowed
    assert judge("1.1.1.1").allowed
    assert not judge("1.1.1.1", also_own=[ip_address("1.1.1.1")]).allowed
    assert not judge("1.1.1.1", also_own=[ip_address("::ffff:1.1.1.1")]).allowed


def test_the_operator_denies_networks_and_names_with_all_their_subdomains():
    denying = policy(deny=["1.1.1.0/24", "2606:4700::/32", "::ffff:8.8.8.0/120", "ads.dev", "*.more.dev", "Bücher.de"])
    for address in ("1.1.1.1", "::ffff:1.1.1.1", "2606:4700::1111", "8.8.8.8"):
        assert not denying.judge_address(address).allowed
    assert denying.judge_address("8.8.4.4").allowed
    for name in ("ads.dev", "x.ads.dev", "ADS.dev.", "more.dev", "a.b.more.dev", "xn--bcher-kva.de"):
        assert not denying.judge_name(name).allowed
    assert denying.judge_name("badads.dev").allowed


def test_all_bad_entries_of_the_operators_list_are_named_at_once():
    with pytest.raises(OperatorError) as caught:
        Policy(deny=["ok.dev", "10.0.0.0/99", "two words", ""])
    assert caught.value.code is Code.MISCONFIGURED
    assert "10.0.0.0/99" in caught.value.message
    assert "two words" in caught.value.message


@pytest.mark.parametrize(
    "name", ["auth.openai.com", "Claude.COM", "www.example.com.", "r3---sn.some.dev", "_x.some.dev"]
)
def test_a_public_name_is_asked_for_in_lower_case_without_its_final_dot(name):
    assert policy().judge_name(name).name == name.lower().rstrip(".")
    assert policy().judge_name(name).allowed


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "localhost",
        "intranet",
        "com.",
        "a..com",
        ".some.dev",
        "some.dev..",
        "-a.some.dev",
        "a-.some.dev",
        "so me.dev",
        "some.dev\n",
        "some.dev/x",
        "user@some.dev",
        "some.dev:443",
        "bücher.de",
        "a" * 64 + ".dev",
        ".".join(["a" * 60] * 5),
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "1.0x7f",
        "10.0.0.1.",
        "127.0.0.1..",
        "0177.0.0.1",
        "0X7F.0X0.0X0.0X1",
        "2130706433",
        "127\u30020\u30020\u30021",
        "\uff11\uff12\uff17.0.0.1",
        "10.0.0.1%00.dev",
        "10.0.0.1\0.dev",
        "0:0:0:0:0:ffff:7f00:1",
        "[64:ff9b::7f00:1]",
        "%6c%6f%63alhost.dev",
        "some%2edev",
        "LOCALHOST.",
        "a" * 1000 + ".dev",
        ".".join("a" * 128),
        "some.0x",
        "[::1]",
        "::1",
        "fe80::1%eth0",
        "%31%32%37.dev",
        "*.some.dev",
    ],
)
def test_what_is_no_absolute_name_of_two_labels_is_refused(name):
    assert not policy().judge_name(name).allowed


@pytest.mark.parametrize(
    "suffix",
    [
        "localhost",
        "local",
        "internal",
        "test",
        "invalid",
        "example",
        "onion",
        "alt",
        "arpa",
        "home.arpa",
        "lan",
        "home",
        "corp",
        "intranet",
        "private",
        "localdomain",
        "svc",
        "cluster.local",
        "fritz.box",
        "ts.net",
        "docker.internal",
    ],
)
@given(label=st.from_regex(r"\A[a-z]{1,10}\Z"))
def test_nothing_under_a_special_use_or_internal_suffix_is_asked_for(suffix, label):
    assert not policy().judge_name(f"{label}.{suffix}").allowed
    assert not policy().judge_name(f"a.{label}.{suffix}.").allowed
    assert policy().judge_name(f"{suffix.replace('.', '-')}.{label}.dev").allowed


@given(st.text(max_size=300))
def test_the_policy_decides_on_any_text_without_an_error(text):
    judged = policy().judge_name(text)
    assert judged.allowed != bool(judged.why)
    assert not judged.allowed or judged.name is not None


def test_the_services_own_public_names_are_refused():
    own = policy(public_urls=["https://broker.some.dev", "http://localhost:8700"])
    assert own.own_names == {"broker.some.dev"}
    assert not own.judge_name("Broker.Some.dev.").allowed


def test_the_only_ipv6_block_is_global_unicast():
    assert IPv6Network("2000::/3").supernet_of(IPv6Network("2600::/12"))
    assert not policy().judge_address("1fff::1").allowed
