"""Where a callback may go: never to this machine, its network or a cloud's metadata, unless an administrator allows it.

Looked at are the addresses that the name has now, and the connection goes to one of just these: a name that answers differently the
second time gains nothing. `JOBFERRY_ALLOW_PRIVATE_WEBHOOKS=1` allows loopback and private addresses; link-local,
unspecified, multicast and metadata addresses stay refused.
"""

import ipaddress
import re
import socket
from typing import NamedTuple

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where clouds give credentials to whoever asks from inside; some look like public or merely private addresses.
METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
)
# RFC 6052, 2.1 and RFC 8215: an IPv4 address in the last 32 bits. RFC 4291, 2.5.5.1: IPv4-compatible, deprecated.
_CARRIERS = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96"))
# iana.org/assignments/ipv6-address-space: global unicast.
_UNICAST = ipaddress.IPv6Network("2000::/3")
_ALLOWABLE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "198.18.0.0/15",
        "::1/128",
        "fc00::/7",
        "fec0::/10",
    )
)


class AddressRefusedError(Exception):
    """A callback may not go there."""


class UnresolvedError(Exception):
    """The name has no address now."""


class Target(NamedTuple):
    """An address that was looked at, ready for `socket.connect`."""

    family: int
    sockaddr: tuple[str, int] | tuple[str, int, int, int]


def resolve(host: str, port: int, *, allow_private: bool) -> list[Target]:
    """The addresses of the host, every one of them permitted. Raises AddressRefusedError, UnresolvedError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        raise UnresolvedError(f"{host} has no address: {getattr(error, 'strerror', None) or error}") from None
    targets: list[Target] = []
    for family, _, _, _, sockaddr in found:
        reason = problem(ipaddress.ip_address(str(sockaddr[0]).partition("%")[0]), allow_private=allow_private)
        if reason:
            named = "" if host == sockaddr[0] else f"{host} is "
            raise AddressRefusedError(f"{named}{sockaddr[0]}, {reason}")
        targets.append(Target(family, sockaddr))  # type: ignore[arg-type]  # of these two families it is one of the two forms
    if not targets:
        raise UnresolvedError(f"{host} has no address.")
    return targets


def literal_problem(host: str, *, allow_private: bool) -> str:
    """Why the host cannot be a callback's, as far as its text alone says; empty when it says nothing."""
    plain = host.strip("[]").rstrip(".").partition("%")[0].lower()
    if plain == "localhost" or plain.endswith(".localhost"):
        return "" if allow_private else _said("a loopback address")
    try:
        return problem(ipaddress.ip_address(plain), allow_private=allow_private)
    except ValueError:
        pass
    if re.fullmatch(r"[0-9a-fx.]+", plain) and plain[:1].isdigit():
        # man 3 inet_aton: 127.1, 0x7f000001 and 2130706433 are addresses too.
        try:
            return problem(ipaddress.IPv4Address(socket.inet_aton(plain)), allow_private=allow_private)
        except OSError:
            return ""
    return ""


def problem(address: Ip, *, allow_private: bool) -> str:
    """Why no callback goes to this address; empty when one may."""
    for one in _faces(address):
        reason = _problem(one, allow_private=allow_private)
        if reason:
            return reason
    return ""


def _faces(address: Ip) -> list[Ip]:
    """The address and every IPv4 address that it carries."""
    found: list[Ip] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        # Of a mapped address the IPv4 part is what is connected to; the rest of it says nothing.
        if address.ipv4_mapped:
            return [address.ipv4_mapped]
        found += [one for one in (address.sixtofour, *(address.teredo or ())) if one is not None]
        if any(address in network for network in _CARRIERS) and int(address) > 1:
            found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return found


def _problem(address: Ip, *, allow_private: bool) -> str:
    if address in METADATA:
        return "a cloud's metadata service"
    if address.is_multicast:
        return "a multicast address"
    if address.is_unspecified:
        return "an unspecified address"
    if address.is_link_local:
        return "a link-local address"
    allowable = any(address.version == network.version and address in network for network in _ALLOWABLE)
    if allow_private and allowable:
        return ""
    if address.is_loopback:
        return _said("a loopback address")
    if allowable:
        return _said("a private address")
    return "" if address.is_global and _is_routed(address) else "a reserved address"


def _is_routed(address: Ip) -> bool:
    """False for IPv6 addresses outside what is given out: a host may translate them (RFC 2765, 2.1: `::ffff:0:127.0.0.1`)."""
    return address.version == 4 or address in _UNICAST or address in _CARRIERS[0]


def _said(what: str) -> str:
    return f"{what}; JOBFERRY_ALLOW_PRIVATE_WEBHOOKS=1 at the server (without one: here) would allow it"
