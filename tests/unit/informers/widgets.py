"""A server of widgets: a kind that its tests know best."""

from dataclasses import dataclass

from controller.testkit import ApiServer
from informers import InformerFactory, JsonObject, Key, Resource

WIDGETS = Resource("example.org", "v1", "Widget", "widgets")


@dataclass(eq=False)
class WidgetServer(ApiServer):
    """An API server with widgets in some namespaces, and small pages."""

    namespaces: tuple[str, ...] = ("default", "kube-system", "one", "two", "three")
    page_limit: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.serve(WIDGETS)

    @property
    def objects(self) -> dict[Key, JsonObject]:
        """The widgets."""
        return self.storage.objects(("example.org", "widgets"))

    @property
    def version(self) -> int:
        """Of the last write."""
        return self.storage.version

    def factory(self, *, namespaces: tuple[str, ...] | None = None) -> InformerFactory:
        """Informers over a client of their own."""
        return InformerFactory(self.client(), namespaces=namespaces)

    def write(self, namespace: str, name: str, **spec: object) -> JsonObject:
        """Create the widget, or update it."""
        return self.put(WIDGETS, {"metadata": {"namespace": namespace, "name": name}, "spec": spec})

    def remove(self, namespace: str, name: str) -> None:
        """Delete the widget, if it is there."""
        if self.find(WIDGETS, namespace, name) is not None:
            self.delete(WIDGETS, namespace, name)
