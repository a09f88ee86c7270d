{{- /* Rules for traffic from pods, used by the gateway and by its migration. */ -}}

{{- define "ims-gateway.egressToDns" -}}
- to:
    {{- toYaml .Values.networkPolicy.dns | nindent 4 }}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}

{{- /* To anywhere where nothing is named: of a database outside the cluster the chart knows no address. */ -}}
{{- define "ims-gateway.egressTo" -}}
- ports:
    - {port: {{ int .port }}, protocol: TCP}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
