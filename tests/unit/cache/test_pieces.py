from cache.pieces import MemoryPiece, Source


def test_a_piece_is_as_long_as_what_it_adds_to_the_body():
    assert len(MemoryPiece(memoryview(b"12345")[1:4], Source.PEER)) == 3
    assert not MemoryPiece(b"", Source.LOCAL)
