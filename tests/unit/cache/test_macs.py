import hmac

from hypothesis import given
from hypothesis import strategies as st

from cache.macs import mac_of


@given(key=st.binary(max_size=200), first=st.binary(max_size=200), rest=st.binary(max_size=200))
def test_a_mac_is_the_hmac_of_its_text_wherever_that_is_cut(key: bytes, first: bytes, rest: bytes) -> None:
    mac, wanted = mac_of(key).after(first), hmac.digest(key, first + rest, "sha256")
    assert (mac.of(rest), mac.hex_of(rest)) == (wanted, wanted.hex())
    assert mac.of(rest) == wanted  # again
