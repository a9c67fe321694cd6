# bash completion for kith
_kith()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "send receive listen connect ping speed lookup key ticket relay dns serve help version" -- "$current"))
        return
    fi
    case $previous in
    --key | --unix | --output | -o | --qlog | --relay-ca | --config-path | -c | --acme-ca | --cert | --cert-dir | --token-file | --data-dir) COMPREPLY=($(compgen -f -- "$current")); return ;;
    --relay) COMPREPLY=($(compgen -W "n0 none" -- "$current")); return ;;
    --lookup) COMPREPLY=($(compgen -W "n0 mdns dht none dns: pkarr:" -- "$current")); return ;;
    --publish) COMPREPLY=($(compgen -W "relays direct all none" -- "$current")); return ;;
    --put-limit) COMPREPLY=($(compgen -W "simple smart disabled" -- "$current")); return ;;
    esac
    case ${COMP_WORDS[1]} in
    send) COMPREPLY=($(compgen -W "--bind --dns-server --help --json --key --lookup --name --no-proxy --once --proxy --publish --qlog --qr --quiet --relay --relay-ca --relay-only --relay-quic --relay-token --timeout --user-data --verbose -h -q -v" -- "$current")) ;;
    receive | recv) COMPREPLY=($(compgen -W "--addr --bind --dns-server --force --help --json --key --lookup --no-proxy --output --proxy --publish --qlog --quiet --relay --relay-ca --relay-only --relay-quic --relay-token --stall --timeout --user-data --verbose -h -o -q -v" -- "$current")) ;;
    listen) COMPREPLY=($(compgen -W "--bind --custom-alpn --dns-server --help --json --key --lookup --no-proxy --proxy --publish --qlog --quiet --recv-only --relay --relay-ca --relay-only --relay-quic --relay-token --tcp --timeout --unix --user-data --verbose -h -q -v" -- "$current")) ;;
    connect) COMPREPLY=($(compgen -W "--addr --bind --custom-alpn --dns-server --help --json --key --lookup --no-proxy --proxy --publish --qlog --quiet --recv-only --relay --relay-ca --relay-only --relay-quic --relay-token --tcp --timeout --unix --user-data --verbose -h -q -v" -- "$current")) ;;
    ping) COMPREPLY=($(compgen -W "--addr --bind --count --dns-server --help --interval --json --key --listen --lookup --no-proxy --proxy --publish --qlog --quiet --relay --relay-ca --relay-only --relay-quic --relay-token --timeout --user-data --verbose --wait -W -c -h -i -l -q -v" -- "$current")) ;;
    speed) COMPREPLY=($(compgen -W "--addr --bind --dns-server --down --help --json --key --listen --lookup --no-proxy --proxy --publish --qlog --quiet --relay --relay-ca --relay-only --relay-quic --relay-token --streams --time --timeout --up --user-data --verbose -P -h -l -q -t -v" -- "$current")) ;;
    key) COMPREPLY=($(compgen -W "new show id --bind --dns-server --force --help --json --key --lookup --no-proxy --proxy --publish --qlog --quiet --relay --relay-ca --relay-only --relay-quic --relay-token --secret --timeout --user-data --verbose -h -q -v" -- "$current")) ;;
    lookup) COMPREPLY=($(compgen -W "--bind --dns-server --help --json --key --lookup --no-proxy --proxy --publish --qlog --quiet --relay --relay-ca --relay-only --relay-quic --relay-token --timeout --user-data --verbose -h -q -v" -- "$current")) ;;
    ticket) COMPREPLY=($(compgen -W "--bind --dns-server --help --json --key --lookup --no-proxy --proxy --publish --qlog --quiet --relay --relay-ca --relay-only --relay-quic --relay-token --timeout --user-data --verbose -h -q -v" -- "$current")) ;;
    relay) COMPREPLY=($(compgen -W "--acme --acme-ca --acme-url --cert --cert-dir --check-config --config-path --contact --dev --help --hostname --http-bind --https-bind --json --key --metrics-bind --no-metrics --no-sandbox --print-config --quic --quic-bind --quiet --self-signed --token --token-file --verbose --version --workers -V -c -h -q -v" -- "$current")) ;;
    dns) COMPREPLY=($(compgen -W "--acme --acme-ca --acme-url --address --cert --check-config --config-path --contact --data-dir --dev --dht --dht-bootstrap --dns-bind --help --hostname --http-bind --https-bind --in-memory --json --key --metrics-bind --name-server --no-metrics --no-sandbox --origin --print-config --put-limit --quiet --self-signed --soa --verbose --version --workers -V -c -h -q -v" -- "$current")) ;;
    serve) COMPREPLY=($(compgen -W "--acme --acme-ca --acme-url --address --any-port --cert --check-config --config-path --contact --data-dir --dev --dns-bind --help --hostname --http-bind --https-bind --json --key --metrics-bind --no-metrics --no-sandbox --origin --print-config --quic-bind --quiet --self-signed --token --token-file --verbose --version --workers -V -c -h -q -v" -- "$current")) ;;
    help) COMPREPLY=($(compgen -W "send receive listen connect ping speed lookup key ticket relay dns serve" -- "$current")) ;;
    esac
    if [ "${COMP_WORDS[1]}" = send ] && [ "${current#-}" = "$current" ]; then
        COMPREPLY=($(compgen -f -- "$current"))
    fi
}
complete -o filenames -F _kith kith

_kith_relay()
{
    # The same options as kith relay.
    COMP_WORDS=(kith relay "${COMP_WORDS[@]:1}")
    COMP_CWORD=$((COMP_CWORD + 1))
    _kith
}
complete -o filenames -F _kith_relay kith-relay

_kith_dns()
{
    # The same options as kith dns.
    COMP_WORDS=(kith dns "${COMP_WORDS[@]:1}")
    COMP_CWORD=$((COMP_CWORD + 1))
    _kith
}
complete -o filenames -F _kith_dns kith-dns
