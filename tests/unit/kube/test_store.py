from orchestrator.kube.store import Store, key_of


class Recorded:
    def __init__(self):
        self.told = []

    def added(self, raw):
        self.told.append(("added", raw["metadata"]["name"]))

    def updated(self, before, after):
        self.told.append(("updated", before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]))

    def deleted(self, raw):
        self.told.append(("deleted", raw["metadata"]["name"]))


def one(name, version="1", namespace="n", uid="u"):
    return {"metadata": {"name": name, "namespace": namespace, "resourceVersion": version, "uid": uid}}


def test_an_object_is_found_by_its_key():
    store = Store()
    store.put(one("a"))
    store.put(one("b", namespace="m"))

    assert store.get(("n", "a")) == one("a")
    assert store.get(("n", "b")) is None
    assert store.objects("m") == (one("b", namespace="m"),)
    assert len(store.objects()) == len(store) == 2


def test_what_belongs_to_the_whole_cluster_has_no_namespace():
    assert key_of({"metadata": {"name": "a"}}) == ("", "a")


def test_changes_are_told_and_the_same_again_is_none():
    handler = Recorded()
    store = Store([handler])

    store.put(one("a"))
    store.put(one("a"))
    store.put(one("a", "2"))
    store.remove(("n", "a"))
    store.remove(("n", "a"))

    assert handler.told == [("added", "a"), ("updated", "1", "2"), ("deleted", "a")]


def test_an_object_made_anew_unseen_is_another_object():
    handler = Recorded()
    store = Store([handler])
    store.put(one("a", uid="old"))

    store.put(one("a", "2", uid="new"))

    assert handler.told[1:] == [("deleted", "a"), ("added", "a")]


def test_what_a_list_does_not_show_is_gone():
    handler = Recorded()
    store = Store([handler])
    store.put(one("a"))
    store.put(one("b"))

    store.keep_only([("n", "b"), ("n", "never seen")])

    assert handler.told[2:] == [("deleted", "a")]
    assert len(store) == 1
