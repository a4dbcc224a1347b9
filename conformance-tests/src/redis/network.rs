//! A network of its own whose links can be cut, made of network namespaces.

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use crate::ground::{Place, random};

/// Why there can be no [`Network`] here: for a test to print when it cannot be done.
#[derive(Debug, Clone)]
pub struct Unavailable(String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no network can be partitioned on this machine, which takes Linux, the command `ip`, and \
             the rights to make network namespaces (root, or CAP_NET_ADMIN and CAP_SYS_ADMIN): {}",
            self.0
        )
    }
}

impl std::error::Error for Unavailable {}

/// A network with any number of [`Site`]s, each with an address of its own, that falls into parts and
/// grows together again as a test wants. Packets between the parts are lost; connections stay open.
///
/// The test process itself is at the site [`host`](Self::host).
///
/// ```no_run
/// use grantor_conformance::redis::{Cluster, Network};
///
/// let network = match Network::new() {
///     Ok(network) => network,
///     Err(why) => return println!("not done: {why}"),
/// };
/// let cluster = Cluster::options().in_network(&network).start();
/// let old = cluster.primary_of("some key");
/// // The test sees what a client sees that is alone with an old primary.
/// network.isolate(&[old.site(), network.host()]);
/// // ... it still takes writes, for a while ...
/// network.heal();
/// cluster.wait_healthy();
/// ```
///
/// It is gone when this and all sites and servers in it are dropped, or when the test process ends.
#[derive(Debug, Clone)]
pub struct Network {
    host: Site,
}

/// A place in a [`Network`]: a machine, as far as anybody there can tell.
#[derive(Debug, Clone)]
pub struct Site(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    network: Arc<Fabric>,
    /// From 1, which is the host.
    number: u8,
    namespace: Option<String>,
}

/// All sites hang on one switch, which is a namespace with bridges in it: one for each part of the
/// network, and one for the control addresses.
#[derive(Debug)]
struct Fabric {
    id: String,
    switch: String,
    /// The third part of the addresses.
    subnet: u8,
    /// Tells others that the subnet is taken.
    _reserved: UdpSocket,
    place: Place,
    parts: Mutex<Parts>,
}

#[derive(Debug, Default)]
struct Parts {
    sites: u8,
    /// The bridges besides the first.
    others: u32,
    isolated: Vec<u8>,
}

fn ip(arguments: &[&str], lines: &[String]) -> Result<(), String> {
    let run = || -> std::io::Result<Output> {
        let mut child = Command::new("ip")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(lines.join("\n").as_bytes())?;
        }
        child.wait_with_output()
    };
    let output = run().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {} {}", arguments.join(" "), said.trim(), lines.join("; ")))
}

impl Fabric {
    fn new() -> Result<Arc<Self>, Unavailable> {
        // Below the ports of outgoing connections and above those of servers.
        let start = random();
        let reserve = |n: u64| {
            let subnet = u8::try_from(start.wrapping_add(n) % 256).ok()?;
            let lock = UdpSocket::bind((Ipv4Addr::LOCALHOST, 31_000 + u16::from(subnet))).ok()?;
            Some((subnet, lock))
        };
        let (subnet, reserved) = (0..256)
            .find_map(reserve)
            .ok_or_else(|| Unavailable("256 networks are there already".into()))?;
        let id = format!("{:06x}", start & 0xff_ffff);
        let switch = format!("grantor-{id}-switch");
        let fabric = Self {
            id,
            switch,
            subnet,
            _reserved: reserved,
            place: Place::new(),
            parts: Mutex::default(),
        };
        fabric.namespace(&fabric.switch).map_err(Unavailable)?;
        let bridges = ["side0", "control"]
            .map(|name| format!("link add {name} type bridge forward_delay 0\nlink set {name} up"));
        ip(&["-n", &fabric.switch, "-batch", "-"], &bridges).map_err(Unavailable)?;
        Ok(Arc::new(fabric))
    }

    /// A new namespace, which is also removed when this process is killed.
    fn namespace(&self, name: &str) -> Result<(), String> {
        let mut undo = std::fs::read_to_string(self.place.file("undo")).unwrap_or_default();
        undo += &format!("ip netns del {name} 2>/dev/null\n");
        self.place.write("undo", undo);
        ip(&["netns", "add", name], &[])
    }

    /// The addresses of a site: in the part of the network where it is, and for control.
    fn addrs(&self, number: u8) -> [Ipv4Addr; 2] {
        // RFC 2544 sets these aside for tests of networks.
        [18, 19].map(|second| Ipv4Addr::new(198, second, self.subnet, number))
    }

    fn connect(self: &Arc<Self>, number: u8) -> Result<Site, String> {
        let is_host = number == 1;
        let namespace = (!is_host).then(|| format!("grantor-{}-{number}", self.id));
        let site = Site(Arc::new(Inside { network: Arc::clone(self), number, namespace }));
        let links = if is_host {
            [format!("gr{}a", self.id), format!("gr{}b", self.id)]
        } else {
            ["eth0", "eth1"].map(str::to_owned)
        };
        let mut place = String::new();
        if let Some(namespace) = &site.0.namespace {
            self.namespace(namespace)?;
            place = format!("netns {namespace}");
        }
        let (switch, ports) = (&self.switch, Self::ports(number));
        let pair = |(link, port): (&String, &String)| {
            format!("link add {link} {place} type veth peer name {port} netns {switch}")
        };
        let pairs: Vec<_> = links.iter().zip(&ports).map(pair).collect();
        ip(&["-batch", "-"], &pairs)?;
        let [inside, control] = &ports;
        ip(
            &["-n", switch, "-batch", "-"],
            &[
                format!("link set {inside} master side0 up"),
                format!("link set {control} master control up"),
            ],
        )?;
        let mut lines = vec!["link set lo up".to_owned()];
        for (link, addr) in links.iter().zip(self.addrs(number)) {
            lines.push(format!("addr add {addr}/24 dev {link}"));
            lines.push(format!("link set {link} up"));
        }
        match &site.0.namespace {
            Some(namespace) => ip(&["-n", namespace, "-batch", "-"], &lines)?,
            None => ip(&["-batch", "-"], lines.get(1..).unwrap_or_default())?,
        }
        Ok(site)
    }

    /// The ends of a site's links in the switch.
    fn ports(number: u8) -> [String; 2] {
        [format!("a{number}"), format!("b{number}")]
    }

    fn attach(&self, numbers: &[u8], bridge: &str) {
        let lines: Vec<_> = numbers
            .iter()
            .map(|number| format!("link set {} master {bridge}", Self::ports(*number)[0]))
            .collect();
        ip(&["-n", &self.switch, "-batch", "-"], &lines).expect("a link of the network");
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.switch], &[]);
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(namespace) = &self.namespace {
            let _ = ip(&["netns", "del", namespace], &[]);
        }
    }
}

impl Network {
    /// A network in which there is nobody but the test itself.
    ///
    /// # Errors
    /// When this machine does not allow it, with the reason.
    pub fn new() -> Result<Self, Unavailable> {
        let fabric = Fabric::new()?;
        fabric.parts.lock().unwrap_or_else(PoisonError::into_inner).sites = 1;
        Ok(Self { host: fabric.connect(1).map_err(Unavailable)? })
    }

    fn fabric(&self) -> &Arc<Fabric> {
        &self.host.0.network
    }

    /// Where the test process itself is, and with it all clients that it has.
    #[must_use]
    pub fn host(&self) -> &Site {
        &self.host
    }

    /// A new place, on the side of all that is not isolated.
    ///
    /// # Panics
    /// When it cannot be made although the network could, or when there are 250 already.
    #[must_use]
    pub fn site(&self) -> Site {
        let fabric = self.fabric();
        let number = {
            let mut parts = fabric.parts.lock().unwrap_or_else(PoisonError::into_inner);
            parts.sites += 1;
            parts.sites
        };
        assert!(number <= 250, "a network has 250 sites at most");
        fabric.connect(number).unwrap_or_else(|why| panic!("{}", Unavailable(why)))
    }

    /// Cuts these off from all others. They reach each other. What was isolated before stays so, from
    /// these too.
    ///
    /// # Panics
    /// When a site is one of another network.
    pub fn isolate(&self, sites: &[&Site]) {
        let fabric = self.fabric();
        let ours = |site: &&Site| Arc::ptr_eq(&site.0.network, fabric);
        assert!(sites.iter().all(ours), "a site of another network");
        let numbers: Vec<_> = sites.iter().map(|site| site.0.number).collect();
        let mut parts = fabric.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.others += 1;
        let bridge = format!("side{}", parts.others);
        let lines = [
            format!("link add {bridge} type bridge forward_delay 0"),
            format!("link set {bridge} up"),
        ];
        ip(&["-n", &fabric.switch, "-batch", "-"], &lines).expect("a part of the network");
        fabric.attach(&numbers, &bridge);
        parts.isolated.extend(numbers);
    }

    /// All reach all others again.
    ///
    /// # Panics
    /// When the machine refuses.
    pub fn heal(&self) {
        let fabric = self.fabric();
        let mut parts = fabric.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let isolated = std::mem::take(&mut parts.isolated);
        fabric.attach(&isolated, "side0");
        let lines: Vec<_> = (1..=parts.others).map(|n| format!("link del side{n}")).collect();
        ip(&["-n", &fabric.switch, "-batch", "-"], &lines).expect("a part of the network");
        parts.others = 0;
    }
}

impl Site {
    /// Its address in the network.
    #[must_use]
    pub fn addr(&self) -> IpAddr {
        self.0.network.addrs(self.0.number)[0].into()
    }

    /// Another address, by which all reach it always: for what a test itself has to say to processes
    /// there.
    #[must_use]
    pub fn control_addr(&self) -> IpAddr {
        self.0.network.addrs(self.0.number)[1].into()
    }

    /// A command for a process that runs there.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut words = self.prefix().into_iter().chain([program.to_owned()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    }

    /// What goes before a command for it to be run there.
    pub(super) fn prefix(&self) -> Vec<String> {
        match &self.0.namespace {
            None => Vec::new(),
            Some(name) => ["ip", "netns", "exec", name].map(str::to_owned).to_vec(),
        }
    }
}
