"""The key that signs: the user's own, or one that is made once for each user of a machine."""

import datetime
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from reenact.runtime.errors import UserError

YEARS = 30
"""How long certificates of our own are valid: without a time stamp a signature ends with them."""
PADDING = padding.PSS(padding.MGF1(hashes.SHA256()), 32)


@dataclass(frozen=True)
class SigningKey:
    """What signs.

    Attributes:
        certificate: PEM, the signer's first, then those above it.
        key: its private key.
        own: whether reenact made it, so that nobody else knows its root.
    """

    certificate: str
    key: PrivateKeyTypes
    own: bool

    @property
    def algorithm(self) -> str:
        """As C2PA calls it."""
        return _algorithm(self.key.public_key())

    def pem(self) -> str:
        """The private key as PEM."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def sign(self, data: bytes) -> bytes:
        """A signature of bytes, which `check_signature` checks."""
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(data, ec.ECDSA(hashes.SHA256()))
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, PADDING, hashes.SHA256())
        assert isinstance(self.key, ed25519.Ed25519PrivateKey)
        return self.key.sign(data)


def user_folder() -> Path:
    """Where the key of this user lies: $REENACT_HOME, or the folder that the system has for settings of programs."""
    if "REENACT_HOME" in os.environ:
        return Path(os.environ["REENACT_HOME"])
    if os.name == "nt":
        return Path(os.environ.get("APPDATA", Path.home())) / "reenact"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "reenact"


def user_root() -> Path:
    """The root certificate of the key that reenact made for this user; it may not exist."""
    return user_folder() / "signing" / "root.pem"


def load_signing_key(certificate: Path | None, key: Path | None) -> SigningKey:
    """The key of the settings `mark.certificate` and `mark.key`; without them this user's own, made if need be.

    Raises:
        UserError: a file is missing, no PEM or encrypted, or key and certificate do not belong together.
    """
    own = False
    if certificate is None or key is None:
        own = True
        folder = user_root().parent
        if not folder.exists():
            _make_own(folder)
        certificate, key = folder / "certificate.pem", folder / "key.pem"
    chain = _read(certificate, "mark.certificate")
    try:
        private = serialization.load_pem_private_key(_read(key, "mark.key"), None)
    except TypeError:
        raise UserError(f"mark.key: {key} is encrypted; give a PEM file without a password") from None
    except ValueError as error:
        raise UserError(f"mark.key: {key} is no private key in PEM ({error})") from None
    try:
        first = x509.load_pem_x509_certificates(chain)[0]
    except ValueError as error:
        raise UserError(f"mark.certificate: {certificate} holds no certificate in PEM ({error})") from None
    _algorithm(first.public_key(), f"mark.key: {key}")
    if _public(private.public_key()) != _public(first.public_key()):
        raise UserError(f"mark.key: {key} is not the key of the first certificate in {certificate}")
    return SigningKey(chain.decode(), private, own)


def check_signature(data: bytes, signature: bytes, certificate: bytes) -> bool:
    """Whether a signature of `SigningKey.sign` was made by the key of the first of these certificates (PEM)."""
    key = x509.load_pem_x509_certificates(certificate)[0].public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, PADDING, hashes.SHA256())
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def signer_name(certificate: bytes) -> str:
    """Whom the first of these certificates (PEM) names, and the beginning of its fingerprint."""
    first = x509.load_pem_x509_certificates(certificate)[0]
    names = first.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value) if names else first.subject.rfc4514_string()
    return f"{name} ({fingerprint(first)})"


def fingerprint(certificate: x509.Certificate) -> str:
    """First 16 hex digits of its SHA-256."""
    return certificate.fingerprint(hashes.SHA256()).hex()[:16]


def chain_leads_to(certificates: bytes, roots: bytes) -> bool:
    """Whether these certificates (PEM) are valid, each signed by the next, the last by one of the roots."""
    chain, known = x509.load_pem_x509_certificates(certificates), x509.load_pem_x509_certificates(roots)
    now = datetime.datetime.now(datetime.UTC)
    for place, certificate in enumerate(chain):
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            return False
        above = [*chain[place + 1 : place + 2], *known]
        issuer = next((issuer for issuer in above if _issued(certificate, issuer)), None)
        if issuer is None:
            return False
        if issuer in known:
            return True
    return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{setting}: {path} cannot be read ({error.strerror})") from None


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _algorithm(key: PublicKeyTypes, where: str = "mark.key") -> str:
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp256r1", "secp384r1"):
        return {"secp256r1": "es256", "secp384r1": "es384"}[key.curve.name]
    if isinstance(key, rsa.RSAPublicKey):
        return "ps256"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    raise UserError(f"{where}: a key of another kind; C2PA takes EC P-256 and P-384, RSA and Ed25519")


# ---- a key of our own ------------------------------------------------------------------------------------------


def _make_own(folder: Path) -> None:
    """A root and a signing certificate below it, readable by this user alone; whoever comes first makes them."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    number = hashlib.sha256(_public(root_key.public_key())).hexdigest()[:8]
    identifier = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
    name = _name(f"reenact root {number}")
    root = (
        _certificate(name, name, root_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _certificate(_name(f"reenact user {number}"), name, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    # The root's private key is forgotten: nothing else will ever be signed with it.
    files = {
        "root.pem": root.public_bytes(pem),
        "certificate.pem": leaf.public_bytes(pem) + root.public_bytes(pem),
        "key.pem": SigningKey("", key, True).pem().encode(),
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".signing-", dir=folder.parent))  # of mode 700
        for file, content in files.items():
            (made / file).touch(mode=0o600)
            (made / file).write_bytes(content)
        try:
            made.rename(folder)
        except OSError:
            shutil.rmtree(made)
            if not folder.exists():
                raise
    except OSError as error:
        raise UserError(
            f"{folder}: a key cannot be made there ({error.strerror}); set mark.certificate and mark.key, or "
            "REENACT_HOME"
        ) from None


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "reenact, a key of the user's own"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)  # clocks of machines differ
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
    )


def _usage(**allowed: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**dict.fromkeys(names, False) | allowed)
