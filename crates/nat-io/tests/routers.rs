//! Ports of a router, which is played by this test on an address of this machine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use portolan_nat_io::{Carried, MappingProtocol, Router};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
};

const HOUR: Duration = Duration::from_secs(3600);
/// Where PCP and NAT-PMP are spoken (RFC 6887 §19.1).
const PCP_PORT: u16 = 5351;

fn router(gateway: &str, ssdp: SocketAddr) -> Router {
    Router { gateway: gateway.parse().unwrap(), own: IpAddr::from([127, 0, 0, 1]), ssdp }
}

/// Answers NAT-PMP as RFC 6886 §3 says, and refuses PCP's version.
async fn nat_pmp(gateway: &str) -> JoinHandle<()> {
    let socket = UdpSocket::bind((gateway, PCP_PORT)).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1100];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
            let epoch = [0, 0, 0, 9];
            let answer: Vec<u8> = match buffer[..len] {
                [0, 0] => [&[0, 128, 0, 0][..], &epoch, &[198, 51, 100, 7]].concat(),
                [0, operation @ 1..=2, _, _, a, b, c, d, ref life @ ..] => {
                    let head = [0, 128 + operation, 0, 0];
                    // The port that is asked for is another's: the next one is given.
                    let given = (u16::from_be_bytes([c, d]) + 1).to_be_bytes();
                    [&head[..], &epoch, &[a, b], &given, life].concat()
                }
                // Version 0 is the nearest that is spoken: unsupported version.
                _ => [&[0, 128, 0, 1][..], &epoch].concat(),
            };
            socket.send_to(&answer, from).await.unwrap();
        }
    })
}

#[tokio::test]
async fn a_port_is_had_by_nat_pmp_renewed_and_given_back() {
    let _router = nat_pmp("127.0.53.51").await;
    let router = router("127.0.53.51", "127.0.0.1:9".parse().unwrap());
    for carried in [Carried::Udp, Carried::Tcp] {
        let mut lease = router.map((carried, 7275), HOUR).await.unwrap();
        assert_eq!((lease.protocol(), lease.lifetime()), (MappingProtocol::NatPmp, HOUR));
        assert_eq!(lease.external(), "198.51.100.7:7276".parse().unwrap());
        lease.renew(HOUR).await.unwrap();
        lease.release().await;
    }
}

const DEVICE: &str = "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\">\
    <device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>\
    <deviceList><device><deviceList><device><serviceList><service>\
    <serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>\
    <controlURL>/control</controlURL><SCPDURL>/schema</SCPDURL>\
    </service></serviceList></device></deviceList></device></deviceList></device></root>";

const SCHEMA: &str = "<?xml version=\"1.0\"?><scpd xmlns=\"urn:schemas-upnp-org:service-1-0\">\
    <actionList><action><name>AddPortMapping</name><argumentList>\
    <argument><name>NewExternalPort</name></argument><argument><name>NewProtocol</name></argument>\
    <argument><name>NewInternalPort</name></argument>\
    <argument><name>NewInternalClient</name></argument></argumentList></action>\
    <action><name>DeletePortMapping</name><argumentList>\
    <argument><name>NewExternalPort</name></argument><argument><name>NewProtocol</name></argument>\
    </argumentList></action></actionList></scpd>";

/// What UPnP's HTTP is asked and answers.
fn upnp_answer(request: &str) -> String {
    let body = if request.starts_with("GET /schema") {
        SCHEMA.to_owned()
    } else if request.starts_with("GET ") {
        DEVICE.to_owned()
    } else {
        let action = ["GetExternalIPAddress", "AddPortMapping", "DeletePortMapping"];
        let name = action.into_iter().find(|name| request.contains(name)).unwrap_or("Unknown");
        let value = match name {
            "GetExternalIPAddress" => "<NewExternalIPAddress>198.51.100.8</NewExternalIPAddress>",
            _ => "",
        };
        format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
             <u:{name}Response xmlns:u=\"urn:schemas-upnp-org:service:WANIPConnection:1\">{value}\
             </u:{name}Response></s:Body></s:Envelope>"
        )
    };
    let len = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Answers SSDP searches and serves what they point at.
async fn upnp(gateway: &str) -> (SocketAddr, JoinHandle<()>) {
    let ssdp = UdpSocket::bind((gateway, 0)).await.unwrap();
    let http = TcpListener::bind((gateway, 0)).await.unwrap();
    let (at, page) = (ssdp.local_addr().unwrap(), http.local_addr().unwrap());
    let playing = async move {
        let search = async {
            let mut buffer = [0; 1500];
            loop {
                let (_, from) = ssdp.recv_from(&mut buffer).await.unwrap();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\
                     LOCATION: http://{page}/device\r\nUSN: uuid:1\r\n\r\n"
                );
                ssdp.send_to(answer.as_bytes(), from).await.unwrap();
            }
        };
        let serve = async {
            loop {
                let (mut stream, _) = http.accept().await.unwrap();
                let (mut request, mut buffer) = (String::new(), [0; 4096]);
                loop {
                    let len = stream.read(&mut buffer).await.unwrap();
                    request.push_str(&String::from_utf8_lossy(&buffer[..len]));
                    let is_whole = request.starts_with("GET ") && request.contains("\r\n\r\n");
                    if len == 0 || is_whole || request.contains("Envelope>") {
                        break;
                    }
                }
                let _gone = stream.write_all(upnp_answer(&request).as_bytes()).await;
            }
        };
        let ((), ()) = tokio::join!(search, serve);
    };
    (at, tokio::spawn(playing))
}

#[tokio::test]
async fn a_port_is_had_by_upnp_where_nothing_else_is_spoken() {
    let (ssdp, _router) = upnp("127.0.53.52").await;
    let router = router("127.0.53.52", ssdp);
    let mut lease = router.map((Carried::Udp, 7275), HOUR).await.unwrap();
    assert_eq!(lease.protocol(), MappingProtocol::Upnp);
    assert_eq!(lease.external().ip(), IpAddr::from([198, 51, 100, 8]));
    lease.renew(HOUR).await.unwrap();
    lease.release().await;
}

#[tokio::test]
async fn a_router_that_speaks_nothing_is_said_to_by_each_protocol() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let router = router("127.0.53.53", silent.local_addr().unwrap());
    let errors = router.map((Carried::Udp, 7275), HOUR).await.unwrap_err();
    let protocols: Vec<_> = errors.iter().map(|error| error.protocol).collect();
    assert_eq!(protocols, MappingProtocol::ALL);
    assert!(errors.iter().all(|error| !error.why.is_empty()));
}
