//! Certificates for servers and clients that live as long as a test.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// A certificate authority, a certificate for the server and one for a client, in PEM.
///
/// [`generate`](Self::generate) makes them; a caller with other wishes fills in the fields.
#[derive(Clone)]
pub struct Tls {
    /// The certificate of the authority: what a client trusts, and what the server trusts.
    pub ca: String,
    /// The server's certificate, for `127.0.0.1` and `localhost`.
    pub certificate: String,
    /// The server's private key.
    pub key: String,
    /// A client's certificate, signed by the same authority.
    pub client_certificate: String,
    /// The client's private key.
    pub client_key: String,
    /// Whether a client without a certificate is refused.
    pub require_client_certificate: bool,
}

impl Tls {
    /// New keys, signed by an authority of their own. No certificate is asked of clients.
    #[must_use]
    pub fn generate() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "Authority of a test");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
            .expect("an authority");
        let sign = |name: &str, usages: Vec<ExtendedKeyUsagePurpose>| {
            let mut params =
                CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])
                    .expect("names");
            params.distinguished_name.push(DnType::CommonName, name);
            params.use_authority_key_identifier_extension = true;
            params.key_usages.push(KeyUsagePurpose::DigitalSignature);
            params.extended_key_usages = usages;
            let key = KeyPair::generate().expect("a key");
            let certificate = params.signed_by(&key, &authority).expect("a certificate");
            (certificate.pem(), key.serialize_pem())
        };
        // Servers are clients of each other: replicas, the nodes of a Cluster.
        let both = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let (certificate, key) = sign("redis", both);
        let (client_certificate, client_key) =
            sign("client", vec![ExtendedKeyUsagePurpose::ClientAuth]);
        Self {
            ca: authority.pem(),
            certificate,
            key,
            client_certificate,
            client_key,
            require_client_certificate: false,
        }
    }

    /// A client without a certificate is refused.
    #[must_use]
    pub fn mutual(mut self) -> Self {
        self.require_client_certificate = true;
        self
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("require_client_certificate", &self.require_client_certificate)
            .finish_non_exhaustive()
    }
}
