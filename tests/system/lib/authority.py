"""Certificates made by openssl, for devices and for those who sign them."""
import subprocess


def openssl(*words):
    subprocess.run(["openssl", *[str(word) for word in words]], check=True, capture_output=True)


class Authority:
    """Signs certificates in a folder of its own. parent signs its own one; None: itself."""

    def __init__(self, folder, name, parent=None):
        self.folder = folder
        if parent is not None:
            self.cert, self.key = parent.issue(name, ca=True)
            return
        self.cert, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", f"/CN={name}", "-days", "30", "-keyout", self.key, "-out", self.cert,
                "-addext", "keyUsage=critical,keyCertSign")

    def issue(self, name, ca=False):
        """(certificate file, key file) of a device, or of an authority below this one."""
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extensions.write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n" if ca
                              else "keyUsage=digitalSignature\nextendedKeyUsage=clientAuth\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key,
                "-CAcreateserial", "-days", "10", "-extfile", extensions, "-out", cert)
        return cert, key
