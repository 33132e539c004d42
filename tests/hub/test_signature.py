"""Signatures of what is pushed: what they are over, whose they are, and that `model_signing` reads them as well."""

import base64
import json
import shutil
import sys
from pathlib import Path

import model_signing
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from doses import small_dose
from hubs import put
from inoculated import finished, gate
from keys import make_key
from model_signing._cli import main as stock

from hfvaccine import hub
from hfvaccine.errors import PublishError, SignatureError, UsageError
from hfvaccine.files import ADAPTER, CARD, NOTICE, RECALLS, SIGNATURE, digest_of
from hfvaccine.hub.listing import listing
from hfvaccine.hub.signature import Expected, Signer, covered, encrypted
from hfvaccine.packages import install_extra


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return make_key(tmp_path_factory.mktemp("keys") / "alice.pem")


@pytest.fixture
def signer(keys):
    return Signer.of(keys[0])


@pytest.fixture
def signed(run, repo_id, alice, signer, api, tmp_path):
    """A download of a signed adapter."""
    hub.push_adapter(run, repo_id, sign=signer, **alice)
    return Path(api.snapshot_download(repo_id, local_dir=tmp_path / "download"))


def names_of(api, repo_id, kind="model", revision=None):
    return {file.rfilename for file in api.repo_info(repo_id, repo_type=kind, revision=revision).siblings}


def held_by_stock(folder, public, *more):
    """Whether the command of `model_signing` finds a download as it was signed."""
    given = ["verify", "key", str(folder), "--signature", str(folder / SIGNATURE), "--public_key", str(public), *more]
    done = CliRunner().invoke(stock, given)
    return "Verification succeeded" in done.output, done.output


def objection(folder, public):
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    own = tuple(name for name in names if not name.startswith(".cache/"))
    return Expected.of(str(public)).objection(folder, own, (folder / SIGNATURE).read_bytes())


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_a_download_is_verified_by_model_signing_itself(kind, run, dose, repo_id, alice, api, keys, signer, tmp_path):
    said = []
    if kind == "model":
        hub.push_adapter(run, repo_id, sign=signer, progress=said.append, **alice)
    else:
        hub.push_dose(dose, repo_id, sign=signer, progress=said.append, **alice)
    files = names_of(api, repo_id, kind) - {SIGNATURE, ".gitattributes"}
    assert f"Signing {len(files)} files with alice.pem" in said
    cached = Path(api.snapshot_download(repo_id, repo_type=kind))
    local = Path(api.snapshot_download(repo_id, repo_type=kind, local_dir=tmp_path / "local"))
    assert set(covered((cached / SIGNATURE).read_bytes())) == files
    assert (local / ".gitattributes").is_file() and (local / ".cache" / "huggingface").is_dir()
    assert held_by_stock(cached, keys[1], "--allow_symlinks")[0]
    assert held_by_stock(local, keys[1])[0]
    assert not held_by_stock(local, make_key(tmp_path / "eve.pem")[1])[0]
    (local / CARD).write_text("changed")
    assert CARD in held_by_stock(local, keys[1])[1]


def test_what_model_signing_made_is_taken_as_well(run, repo_id, alice, api, keys, tmp_path):
    hub.push_adapter(run, repo_id, **alice)
    folder = Path(api.snapshot_download(repo_id, local_dir=tmp_path / "download"))
    shutil.rmtree(folder / ".cache")
    given = ["sign", "key", str(folder), "--signature", str(folder / SIGNATURE), "--private_key", str(keys[0])]
    assert "Signing succeeded" in CliRunner().invoke(stock, given).output
    assert objection(folder, keys[1]) == ""
    given = [*given, "--ignore-paths", str(folder / ADAPTER)]  # as somebody may who is trusted
    assert "Signing succeeded" in CliRunner().invoke(stock, given).output
    assert objection(folder, keys[1]) == f"added after it was signed: {ADAPTER}"


def test_a_signature_holds_for_its_key_alone(signed, keys, tmp_path):
    assert objection(signed, keys[1]) == ""
    assert objection(signed, make_key(tmp_path / "eve.pem")[1]) == "another key made it, or it was changed"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / CARD).write_text("x"), f"changed after it was signed: {CARD}"),
        (lambda folder: (folder / ADAPTER).unlink(), f"gone after it was signed: {ADAPTER}"),
        (lambda folder: (folder / "evil.py").write_text("x"), "added after it was signed: evil.py"),
        (lambda folder: (folder / ".gitignore").write_text("x"), "added after it was signed: .gitignore"),
        (lambda folder: (folder / SIGNATURE).write_text("{}"), f"{SIGNATURE} is no signature that"),
        (lambda folder: (folder / SIGNATURE).write_text("[" * 99999), f"{SIGNATURE} is no signature that"),
        (lambda folder: (folder / RECALLS).write_text("later"), ""),
        (lambda folder: (folder / NOTICE).write_text("later"), ""),
    ],
    ids=["changed", "gone", "added", "of git", "empty", "deep", "recalls", "notice"],
)
def test_what_was_done_after_it_was_signed_is_named(signed, keys, spoil, said):
    spoil(signed)
    found = objection(signed, keys[1])
    assert found.startswith(said) if said else found == ""


def test_a_signature_that_was_edited_is_nobodys(signed, keys):
    bundle = json.loads((signed / SIGNATURE).read_text())
    envelope = bundle["dsseEnvelope"]
    was = base64.b64decode(envelope["payload"])
    (signed / CARD).write_text("x")
    now = was.replace(covered((signed / SIGNATURE).read_bytes())[CARD].encode(), digest_of(signed / CARD).encode())
    envelope["payload"] = base64.b64encode(now).decode()
    (signed / SIGNATURE).write_text(json.dumps(bundle))
    assert covered((signed / SIGNATURE).read_bytes())[CARD] == digest_of(signed / CARD)
    assert objection(signed, keys[1]) == "another key made it, or it was changed"


def test_keys_and_identities_are_not_taken_for_each_other(signed, keys):
    signature = (signed / SIGNATURE).read_bytes()
    bundle = json.loads(signature)
    assert Expected("you", None, identity=True).objection(signed, (), signature) == "a key made it, and no identity"
    for material in ({"certificate": {}}, {}, None):
        (signed / SIGNATURE).write_text(json.dumps({**bundle, "verificationMaterial": material}))
        assert objection(signed, keys[1]) == "no key made it, but an identity or certificate"


def test_a_message_of_model_signing_stays_off_stdout(signed, keys, capfd):
    text = (signed / SIGNATURE).read_text()
    hint = text.split('"hint":')[1].split('"')[1]
    (signed / SIGNATURE).write_text(text.replace(hint, ""))  # of before 1.1, which it warns of
    assert objection(signed, keys[1]) == ""
    out, err = capfd.readouterr()
    assert out == "" and "older" in err


@pytest.mark.parametrize("sign", [True, False], ids=["signed", "unsigned"])
def test_pushing_again_changes_nothing(run, repo_id, alice, api, signer, sign):
    first = hub.push_adapter(run, repo_id, sign=signer, **alice)
    assert hub.push_adapter(run, repo_id, sign=signer if sign else None, **alice) == first
    assert SIGNATURE in names_of(api, repo_id)
    assert len(api.list_repo_commits(repo_id)) == 2  # the Hub's own and ours


def test_a_run_that_was_pushed_unsigned_is_signed_by_the_next_push(run, repo_id, alice, api, signer, keys, tmp_path):
    hub.push_adapter(run, repo_id, **alice)
    assert SIGNATURE not in names_of(api, repo_id)
    assert hub.push_adapter(run, repo_id, sign=signer, **alice).tag == "v2"
    assert objection(Path(api.snapshot_download(repo_id, local_dir=tmp_path / "d")), keys[1]) == ""


def test_another_run_is_signed_again_or_takes_the_signature_away(
    run, another, repo_id, alice, api, signer, keys, tmp_path
):
    said = []
    hub.push_adapter(run, repo_id, sign=signer, **alice)
    hub.push_adapter(another, repo_id, sign=signer, **alice)
    assert objection(Path(api.snapshot_download(repo_id, local_dir=tmp_path / "d")), keys[1]) == ""
    hub.push_adapter(run, repo_id, progress=said.append, **alice)
    assert SIGNATURE not in names_of(api, repo_id)
    assert any("is not of these files, and goes" in line for line in said)


def test_a_dose_is_signed_again_or_loses_its_signature(dose, repo_id, alice, api, signer, tmp_path):
    hub.push_dose(dose, repo_id, sign=signer, **alice)
    hub.push_dose(small_dose(tmp_path / "other", "Another"), repo_id, **alice)
    assert SIGNATURE not in names_of(api, repo_id, "dataset")


def test_another_signer_replaces_a_signature(run, repo_id, alice, api, signer, tmp_path):
    hub.push_adapter(run, repo_id, sign=signer, **alice)
    private, public = make_key(tmp_path / "bob.pem", "pass word", ec.generate_private_key(ec.SECP384R1()))
    assert hub.push_adapter(run, repo_id, sign=Signer.of(private, "pass word"), **alice).tag == "v2"
    assert objection(Path(api.snapshot_download(repo_id, local_dir=tmp_path / "d")), public) == ""


def test_a_pull_request_holds_the_signature_and_is_found_again(
    run, another, repo_id, alice, api, signer, keys, tmp_path
):
    hub.push_adapter(another, repo_id, **alice)
    asked = hub.push_adapter(run, repo_id, create_pr=True, sign=signer, **alice)
    assert hub.push_adapter(run, repo_id, create_pr=True, sign=signer, **alice) == asked
    proposed = api.snapshot_download(repo_id, revision=asked.revision, local_dir=tmp_path / "d")
    assert objection(Path(proposed), keys[1]) == ""
    assert SIGNATURE not in names_of(api, repo_id)
    api.merge_pull_request(repo_id, int(asked.url.rpartition("/")[2]))
    merged = Path(api.snapshot_download(repo_id, local_dir=tmp_path / "merged"))
    assert objection(merged, keys[1]) == ""


def test_a_strangers_signature_in_a_pull_request_is_not_taken(run, repo_id, alice, api, signer, tmp_path):
    hub.push_adapter(run, repo_id, **alice)
    folder = api.snapshot_download(repo_id, local_dir=tmp_path / "d")
    files = {name: (Path(folder) / name).read_bytes() for name in names_of(api, repo_id) - {".gitattributes"}}
    theirs = Signer.of(make_key(tmp_path / "eve.pem")[0]).sign(files, "x")
    commit = api.upload_file(
        path_or_fileobj=theirs,
        path_in_repo=SIGNATURE,
        repo_id=repo_id,
        create_pr=True,
        commit_message="Publish an adapter whose gate is passed",
    )
    assert commit.pr_num
    hub.push_adapter(run, repo_id, **alice)
    assert SIGNATURE not in names_of(api, repo_id)
    pushed = hub.push_adapter(run, repo_id, sign=signer, **alice)
    assert Path(api.hf_hub_download(repo_id, SIGNATURE, revision=pushed.revision)).read_bytes() != theirs


def test_what_nobody_here_has_seen_is_not_signed(run, repo_id, alice, api, signer):
    first = hub.push_adapter(run, repo_id, **alice)
    put(api, repo_id, "evil.py", b"import os")
    before = api.model_info(repo_id).sha
    with pytest.raises(PublishError, match=r"holds evil\.py, which this push does not write"):
        hub.push_adapter(run, repo_id, sign=signer, **alice)
    assert api.model_info(repo_id).sha == before
    assert hub.push_adapter(run, repo_id, **alice).repo_id == first.repo_id  # unsigned it may


def test_a_licence_that_is_there_is_signed_as_it_is_and_notices_may_come(
    run, repo_id, alice, api, signer, keys, tmp_path
):
    said = []
    hub.push_adapter(run, repo_id, **alice)
    put(api, repo_id, "LICENSE", b"mine")
    put(api, repo_id, RECALLS, b"")
    hub.push_adapter(run, repo_id, sign=signer, progress=said.append, **alice)
    assert any("LICENSE as the repo has it" in line for line in said)
    put(api, repo_id, NOTICE, b"later")
    folder = Path(api.snapshot_download(repo_id, local_dir=tmp_path / "d"))
    assert (folder / "LICENSE").read_bytes() == b"mine" and (folder / NOTICE).is_file()
    assert objection(folder, keys[1]) == "" and held_by_stock(folder, keys[1])[0]
    head = api.model_info(repo_id).sha
    assert hub.push_adapter(run, repo_id, **alice).revision == head
    assert SIGNATURE in names_of(api, repo_id)
    (folder / "LICENSE").write_text("theirs")
    assert "LICENSE" in objection(folder, keys[1])


def test_signed_repos_are_listed(run, dose, repo_id, alice, signer):
    hub.push_adapter(run, repo_id, sign=signer, **alice)
    hub.push_dose(dose, f"{repo_id}-dose", sign=signer, **alice)
    found = listing("alice", **alice)
    assert repo_id in {one.id for one in found.adapters}
    assert f"{repo_id}-dose" in {one.id for one in found.doses}


def test_a_signed_dose_is_pulled_only_as_its_signer_left_it(dose, repo_id, alice, api, signer, keys, tmp_path):
    expected = Expected.of(str(keys[1]))
    hub.push_dose(dose, repo_id, **alice)
    with pytest.raises(SignatureError, match="nobody signed it"):
        hub.pull_dose(repo_id, signer=expected, **alice)
    hub.push_dose(dose, repo_id, sign=signer, **alice)
    pulled = hub.pull_dose(repo_id, signer=expected, local_dir=tmp_path / "mine", **alice)
    assert pulled.name == "Small dose"
    assert hub.pull_dose(repo_id, **alice).name == "Small dose"  # the signature is beside it in the cache
    with pytest.raises(SignatureError, match="another key made it"):
        hub.pull_dose(repo_id, signer=Expected.of(str(make_key(tmp_path / "eve.pem")[1])), **alice)
    put(api, repo_id, "LICENSE", b"later", "dataset")
    with pytest.raises(SignatureError, match="added after it was signed: LICENSE"):
        hub.pull_dose(repo_id, signer=expected, local_dir=tmp_path / "other", **alice)
    assert not (tmp_path / "other").exists()


def test_an_identity_signs_anew_each_time(run, repo_id, alice, api, keys):
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=keys[0])
    for tag in ("v1", "v2"):
        assert hub.push_adapter(run, repo_id, sign=Signer("Sigstore", config), **alice).tag == tag


def unreachable(*given, **more):
    from sigstore.errors import TUFError

    raise TUFError("Failed to refresh TUF metadata")


def test_without_a_network_sigstore_is_one_sentence(monkeypatch):
    monkeypatch.setattr("sigstore.models.ClientTrustConfig.production", unreachable)
    for ask in (lambda: Signer.of("sigstore"), lambda: Expected.of("you@example.org", "https://accounts.google.com")):
        with pytest.raises(SignatureError) as caught:
            ask()
        assert caught.value.message == "Sigstore cannot be used: Failed to refresh TUF metadata."
        assert "network" in caught.value.next_step


def test_nothing_is_sent_where_sigstore_does_not_sign(run, repo_id, alice, api):
    class Down:
        def set_hashing_config(self, hashing):
            return self

        sign = unreachable

    with pytest.raises(SignatureError, match="TUF"):
        hub.push_adapter(run, repo_id, sign=Signer("Sigstore", Down()), **alice)
    assert not api.repo_exists(repo_id)


def test_all_arms_are_signed_before_any_is_sent(repo_id, alice, api, keys, tmp_path):
    run = finished(tmp_path / "arms", gate=gate())
    left = iter([Signer.of(keys[0])])

    class Once:
        def set_hashing_config(self, hashing):
            one = next(left, None)
            return one.config.set_hashing_config(hashing) if one else unreachable()

    with pytest.raises(SignatureError):
        hub.push_arms(run, repo_id, license="mit", sign=Signer("Sigstore", Once()), **alice)
    assert not api.repo_exists(repo_id)
    pushed = hub.push_arms(run, repo_id, license="mit", sign=Signer.of(keys[0]), **alice)
    assert len(pushed) > 1
    for one in pushed:
        folder = Path(api.snapshot_download(one.repo_id, local_dir=tmp_path / one.repo_id))
        assert objection(folder, keys[1]) == ""


def written(path, key, kept=None):
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, kept or serialization.NoEncryption()))
    return path


COSIGN = b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\neyJ9\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path, "There is no key"),
        (lambda path: path.mkdir() or path, "There is no key"),
        (lambda path: make_key(path)[1], "is a public key"),
        (lambda path: path.write_bytes(COSIGN) and path, "only cosign reads"),
        (lambda path: path.write_text("hello") and path, "is not an elliptic curve key in PEM"),
        (lambda path: written(path, ed25519.Ed25519PrivateKey.generate()), "is not an elliptic curve key"),
        (lambda path: written(path, rsa.generate_private_key(65537, 2048)), "is not an elliptic curve key"),
        (lambda path: written(path, ec.generate_private_key(ec.SECP256K1())), "secp256k1"),
        (lambda path: make_key(path, "secret")[0], "has a password"),
    ],
    ids=["none", "folder", "public", "cosign", "text", "ed25519", "rsa", "curve", "password"],
)
def test_what_cannot_sign_is_refused(tmp_path, make, said):
    with pytest.raises(UsageError, match=said):
        Signer.of(make(tmp_path / "given.pem"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path, "There is no key"),
        (lambda path: make_key(path)[0], "is a private key"),
        (lambda path: path.write_text("-----BEGIN CERTIFICATE-----\n") and path, "is a certificate"),
        (lambda path: path.write_text("hello") and path, "is not an elliptic curve key in PEM"),
    ],
    ids=["none", "private", "certificate", "text"],
)
def test_what_cannot_have_signed_is_refused(tmp_path, make, said):
    with pytest.raises(UsageError, match=said):
        Expected.of(str(make(tmp_path / "given.pem")))


def test_an_identity_without_its_provider_is_told_what_to_give():
    with pytest.raises(UsageError) as caught:
        Expected.of("you@example.org")
    assert "--signer-provider" in caught.value.next_step


@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_a_password_opens_its_key_and_no_other_does(tmp_path, form):
    kept = serialization.BestAvailableEncryption(b"sesame \xc3\xa9")
    key = ec.generate_private_key(ec.SECP521R1())
    path = tmp_path / "key.pem"
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), kept))
    assert encrypted(path)
    assert Signer.of(path, "sesame é").public
    for wrong in range(6):  # what a wrong one makes of the key is another thing each time
        with pytest.raises(UsageError, match="not the password"):
            Signer.of(path, f"open {wrong}")


def test_a_password_of_another_key_does_no_harm(keys):
    assert not encrypted(keys[0]) and Signer.of(keys[0], "of another").public


def test_a_missing_package_is_named_with_what_installs_it(keys, monkeypatch):
    monkeypatch.setitem(sys.modules, "model_signing", None)
    for ask in (lambda: Signer.of(keys[0]), lambda: Expected.of(str(keys[1]))):
        with pytest.raises(UsageError) as caught:
            ask()
        assert caught.value.next_step == install_extra("sign")
