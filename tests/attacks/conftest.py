"""One product for all attacks: each must leave it as it was for the next, as a real one would have to be."""

from collections.abc import Iterator

import pytest

from tests.attacks.product import Product, tracebacks


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Product(tmp_path_factory.mktemp("attacked") / "data") as running:
        yield running


@pytest.fixture(autouse=True)
def still_serving(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each attack on it the product still runs, serves, and has printed no traceback."""
    if "product" not in request.fixturenames:
        yield
        return
    product: Product = request.getfixturevalue("product")
    yield
    assert product.process.poll() is None
    with product.client("olga") as rest:
        assert rest.get("/readyz").status_code == 200
        assert rest.get("/api/v1/state").status_code == 200
    assert tracebacks(product.log()) == []
