import pytest

from tests.docs.generate import DOCS, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_f104_the_page_says_what_the_code_says(name):
    assert (DOCS / name).read_text() == PAGES[name](), "run: python -m tests.docs.generate"
