// One LTE cell in ns-3: phones upload or download by TCP through one base station.
// Compiled by `in_ns3.py`, which calls Play once per process.

struct Settings
{
    bool proportionalFair, shipped, downlink;
    unsigned seed, blocks;
    double exponent, referenceLossDb, uePowerDbm, enbPowerDbm, gainDbi, wireDelayS;
};

struct Ends
{
    std::vector<double> seconds; // below zero where the last byte never came
    std::vector<double> bytes;   // received
};

static std::vector<double> g_ended, g_bytes, g_wanted;
static unsigned g_awaited;

static void
Received(unsigned n, ns3::Ptr<const ns3::Packet> packet, const ns3::Address&)
{
    g_bytes[n] += packet->GetSize();
    if (g_ended[n] < 0 && g_bytes[n] >= g_wanted[n])
    {
        g_ended[n] = ns3::Simulator::Now().GetSeconds();
        if (--g_awaited == 0)
        {
            ns3::Simulator::Stop();
        }
    }
}

static void
ReceivedOf(std::string context, ns3::Ptr<const ns3::Packet> packet, const ns3::Address& from)
{
    Received(std::stoul(context), packet, from);
}

static void
Leave(ns3::Ptr<ns3::NetDevice> phone)
{
    phone->GetObject<ns3::LteUeNetDevice>()->GetNas()->Disconnect();
}

static void
UseBuffersOfToday()
{
    using namespace ns3;
    Config::SetDefault("ns3::TcpSocket::SndBufSize", UintegerValue(4 << 20));
    Config::SetDefault("ns3::TcpSocket::RcvBufSize", UintegerValue(4 << 20));
    Config::SetDefault("ns3::TcpSocket::SegmentSize", UintegerValue(1448));
    Config::SetDefault("ns3::LteRlcUm::MaxTxBufferSize", UintegerValue(4 << 20));
    Config::SetDefault("ns3::LteRlcUm::EnablePdcpDiscarding", BooleanValue(false));
}

Ends
Play(const Settings& with,
     const std::vector<double>& x,
     const std::vector<double>& y,
     const std::vector<double>& bytes,
     const std::vector<double>& starts,
     const std::vector<double>& leaves,
     double limit)
{
    using namespace ns3;
    const unsigned count = x.size();
    g_ended.assign(count, -1.0);
    g_bytes.assign(count, 0.0);
    g_wanted = bytes;
    g_awaited = std::count_if(leaves.begin(), leaves.end(), [](double s) { return s < 0; });
    RngSeedManager::SetSeed(1);
    RngSeedManager::SetRun(with.seed);
    if (!with.shipped)
    {
        UseBuffersOfToday();
    }
    Config::SetDefault("ns3::LteEnbRrc::SrsPeriodicity", UintegerValue(80));
    Config::SetDefault("ns3::LteUePhy::EnableUplinkPowerControl", BooleanValue(false));
    Config::SetDefault("ns3::LteUePhy::TxPower", DoubleValue(with.uePowerDbm));
    Config::SetDefault("ns3::LteEnbPhy::TxPower", DoubleValue(with.enbPowerDbm));

    auto lte = CreateObject<LteHelper>();
    auto epc = CreateObject<PointToPointEpcHelper>();
    lte->SetEpcHelper(epc);
    lte->SetSchedulerType(with.proportionalFair ? "ns3::PfFfMacScheduler"
                                                : "ns3::RrFfMacScheduler");
    lte->SetEnbDeviceAttribute("UlBandwidth", UintegerValue(with.blocks));
    lte->SetEnbDeviceAttribute("DlBandwidth", UintegerValue(with.blocks));
    lte->SetEnbAntennaModelType("ns3::IsotropicAntennaModel");
    lte->SetEnbAntennaModelAttribute("Gain", DoubleValue(with.gainDbi));
    lte->SetPathlossModelType(LogDistancePropagationLossModel::GetTypeId());
    lte->SetPathlossModelAttribute("Exponent", DoubleValue(with.exponent));
    lte->SetPathlossModelAttribute("ReferenceLoss", DoubleValue(with.referenceLossDb));
    lte->SetPathlossModelAttribute("ReferenceDistance", DoubleValue(1.0));

    NodeContainer server, base, phones;
    server.Create(1);
    base.Create(1);
    phones.Create(count);
    InternetStackHelper internet;
    internet.Install(server);
    PointToPointHelper wire;
    wire.SetDeviceAttribute("DataRate", DataRateValue(DataRate("100Gb/s")));
    wire.SetDeviceAttribute("Mtu", UintegerValue(1500));
    wire.SetChannelAttribute("Delay", TimeValue(Seconds(with.wireDelayS)));
    auto wired = wire.Install(epc->GetPgwNode(), server.Get(0));
    Ipv4AddressHelper addresses;
    addresses.SetBase("1.0.0.0", "255.0.0.0");
    auto ends = addresses.Assign(wired);
    Ipv4StaticRoutingHelper routing;
    routing.GetStaticRouting(server.Get(0)->GetObject<Ipv4>())
        ->AddNetworkRouteTo(Ipv4Address("7.0.0.0"), Ipv4Mask("255.0.0.0"), 1);

    auto places = CreateObject<ListPositionAllocator>();
    places->Add(Vector(0.0, 0.0, 0.0));
    for (unsigned n = 0; n < count; n++)
    {
        places->Add(Vector(x[n], y[n], 0.0));
    }
    MobilityHelper mobility;
    mobility.SetPositionAllocator(places);
    mobility.SetMobilityModel("ns3::ConstantPositionMobilityModel");
    mobility.Install(base);
    mobility.Install(phones);
    auto baseDevices = lte->InstallEnbDevice(base);
    auto phoneDevices = lte->InstallUeDevice(phones);
    internet.Install(phones);
    auto phoneAddresses = epc->AssignUeIpv4Address(phoneDevices);
    for (unsigned n = 0; n < count; n++)
    {
        routing.GetStaticRouting(phones.Get(n)->GetObject<Ipv4>())
            ->SetDefaultRoute(epc->GetUeDefaultGatewayAddress(), 1);
        lte->Attach(phoneDevices.Get(n), baseDevices.Get(0));
        auto from = with.downlink ? server.Get(0) : phones.Get(n);
        auto to = with.downlink ? phones.Get(n) : server.Get(0);
        auto address = with.downlink ? phoneAddresses.GetAddress(n) : ends.GetAddress(1);
        InetSocketAddress place(address, 5000 + n);
        PacketSinkHelper sink("ns3::TcpSocketFactory",
                              InetSocketAddress(Ipv4Address::GetAny(), 5000 + n));
        auto sinks = sink.Install(to);
        sinks.Get(0)->TraceConnect("Rx", std::to_string(n), MakeCallback(&ReceivedOf));
        BulkSendHelper sender("ns3::TcpSocketFactory", place);
        sender.SetAttribute("MaxBytes", UintegerValue(uint64_t(bytes[n])));
        auto senders = sender.Install(from);
        senders.Start(Seconds(starts[n]));
        if (leaves[n] > 0)
        {
            Simulator::Schedule(Seconds(leaves[n]), &Leave, phoneDevices.Get(n));
        }
    }
    Simulator::Stop(Seconds(limit));
    Simulator::Run();
    Simulator::Destroy();
    return Ends{g_ended, g_bytes};
}
